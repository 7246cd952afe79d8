"""Shields: the texts that they check, what they find, and the ways in which they fail."""
