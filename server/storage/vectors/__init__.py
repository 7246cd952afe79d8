"""Indexes of chunks, which find texts by their vectors and by their words."""
