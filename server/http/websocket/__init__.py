"""WebSockets (RFC 6455) on which responses are asked for, each message as a request of its own."""
