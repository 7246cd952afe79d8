"""Open Policy Agent: the process, its transport, and its control plane."""
