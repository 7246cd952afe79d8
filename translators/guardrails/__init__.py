"""Guardrails: hand-written Rego of a security team, checked and added to the bundle with its places."""
