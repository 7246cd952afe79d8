"""The registry: resources that callers register over HTTP."""
