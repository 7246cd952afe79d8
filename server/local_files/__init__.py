"""Files on this machine: small ones, trusted ones, secrets, and files that appear whole or not at all."""
