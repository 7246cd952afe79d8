"""Storage of records, with an access check for each."""
