"""Groups of tools, and the tools in them, as callers may see them."""
