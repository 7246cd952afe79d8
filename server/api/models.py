"""`/v1/models`: the models that a caller may use, where they are registered, and where they go."""

from __future__ import annotations

