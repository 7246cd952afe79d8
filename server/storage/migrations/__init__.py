"""Numbered changes of the schema, each in the spelling of each database."""
