"""Measurements of shields: of a chat that goes through them, of a window of a stream, and beside shields that hang."""
