"""Construction of every object from the configuration."""
