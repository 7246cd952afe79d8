"""Messages, as Anthropic's clients know them, of any model."""
