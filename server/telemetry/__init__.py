"""Metrics, traces and health of the server, without callers' identities or contents of requests."""
