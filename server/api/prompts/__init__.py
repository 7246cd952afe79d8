"""`/v1/prompts`: prompts in versions."""
