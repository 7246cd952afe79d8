"""The decision log: one line for each decision, kept through crashes."""
