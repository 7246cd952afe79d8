"""Routes about the server itself: health, readiness, metrics, providers."""
