"""Source text of a configuration: YAML with positions, environment variables, diagnostics and how they are printed."""
