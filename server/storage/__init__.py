"""Stored records, and who may see which of them."""
