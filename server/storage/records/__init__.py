"""Records with owners: tables, filters, and the guarded store."""
