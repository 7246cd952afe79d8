"""Databases: SQLite and PostgreSQL, migrations."""
