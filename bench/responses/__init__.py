"""Measurements of responses: of stored ones, of their streams, and of each of their events."""
