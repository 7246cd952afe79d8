"""A client of the Model Context Protocol: sessions with servers of tools, bounded in time, size and number."""
