"""The policy language: syntax tree, parser, diagnostics, and the vocabulary that the other packages share.

Imports the standard library and PyYAML only; `server` and `translators` import this package and not each other.
"""
