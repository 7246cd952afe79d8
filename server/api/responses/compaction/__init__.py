"""Compaction: a long conversation in few items, asked for or in the course of a response."""
