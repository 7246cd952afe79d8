"""Local files: bounded reading, checks of permissions, secrets, and atomic creation."""
