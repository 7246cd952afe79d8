"""`/v1/safety/run-shield`, `/v1/moderations` and `/v1/shields`: shields, and what they say of texts."""
