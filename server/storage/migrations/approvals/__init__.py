"""Changes of the schema for calls of tools that wait for approvals, in the spelling of each database."""
