"""The usage of models, for the callers that may see it."""
