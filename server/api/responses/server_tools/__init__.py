"""Tools that this server runs for a response: their offer, the rounds of their calls, and `file_search`."""
