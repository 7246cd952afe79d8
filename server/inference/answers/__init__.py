"""Answers of providers: read, renamed, measured and put together."""
