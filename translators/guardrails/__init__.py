"""Hand-written Rego of a security team: read, checked, and put into the bundle with its places."""
