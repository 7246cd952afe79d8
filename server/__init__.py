"""The server: an OpenAI-compatible HTTP API whose every access decision is made by Open Policy Agent."""
