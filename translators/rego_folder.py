"""The location of the hand-written Rego."""

from __future__ import annotations

from pathlib import Path
from typing import Final

REGO: Final = Path(__file__).parent.parent / "rego"
"""Beside this package, in a checkout and in an installation alike."""
