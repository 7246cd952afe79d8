"""Changes of the schema for the links between vector stores and files, in the spelling of each database."""
