"""Networking that several packages share: TLS, addresses, HTTP to identity services, trace context."""
