"""`/v1/models`: the catalogue of models, configured and registered."""
