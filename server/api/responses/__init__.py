"""`/v1/responses`: answers of models as items and events, stored and continued."""
