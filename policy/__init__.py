"""The language: what operators write, and the words that every other room uses for it.

Imports the standard library and PyYAML only; `server` and `translators` import this package and not each other.
"""
