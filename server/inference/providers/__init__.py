"""Providers of models, one module each."""
