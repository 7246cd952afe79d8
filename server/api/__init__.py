"""The HTTP surface: thin handlers that read a request, ask the policy through the gate, and answer as OpenAI does."""
