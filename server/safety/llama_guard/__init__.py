"""Llama Guard: the conversations that its versions are shown, and the verdicts that they write."""
