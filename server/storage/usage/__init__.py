"""Usage of models by principal, team, model, provider and day."""
