"""Strict reading of JSON from callers and services, of large bodies in processes of their own."""
