"""Models and who serves them. Nothing here knows of HTTP requests; a provider is reached with a `Permit` alone."""
