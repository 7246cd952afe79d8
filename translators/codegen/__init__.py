"""Rego code generation: one function for each part of a module."""
