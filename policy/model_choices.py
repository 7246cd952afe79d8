"""Numbers of the models that one model may name to answer in its place, and of its further names."""

from __future__ import annotations

from typing import Final

MOST_NAMED: Final = 8
"""Models that one model may name under `fallback`, and under `weights`."""

MOST_WEIGHT: Final = 1000

MOST_ALIASES: Final = 8
"""Further names of one model."""
