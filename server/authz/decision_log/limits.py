"""The limits of the decision log: sizes of its files and lines, and what one caller may write."""

from __future__ import annotations

from typing import Final

LOW_SPACE: Final = 512 * 1024 * 1024
"""Bytes of free space on the disk of the log below which the server warns."""

SPACE_SECONDS: Final = 5.0
"""Seconds between looks at the free space."""
