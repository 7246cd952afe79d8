"""Tools of type `mcp`: servers of tools that a request names, and the approvals of their calls."""
