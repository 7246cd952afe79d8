"""Amazon Bedrock: its OpenAI endpoint, and the Converse API for models that are not served there."""
