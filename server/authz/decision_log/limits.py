"""The limits of the decision log: sizes of its files and lines, and what one caller may write."""

from __future__ import annotations

from typing import Final

from server.fairness.shares import Share

LOW_SPACE: Final = 512 * 1024 * 1024
"""Bytes of free space on the disk of the log below which the server warns."""

SPACE_SECONDS: Final = 5.0
"""Seconds between looks at the free space."""

MOST_TEXT: Final = 512
"""Characters of a path or a name in a line; of longer ones the line has the beginning and the length."""

WINDOW_SECONDS: Final = 10.0
"""Seconds for which refusals are counted before the count is written."""

WHOLE_EACH: Final = 100
"""Refusals of one caller in that time that have a line each."""

WHOLE_ALL: Final = 1000
"""Refusals of all callers in that time that have a line each."""

MOST_COUNTS: Final = 64
"""Routes and rules in that time that are counted apart; refusals of further ones are counted together."""

CLOSE_SECONDS: Final = 2.0
"""Seconds for which a server that shuts down tries to write the counts."""

LINES: Final = Share("lines of the decision log", 1000 * 1024, 256 * 1024, waiting=4096, waiting_each=1024, seconds=2.0)
"""Bytes of lines that wait to be written: all of them fit one half of the journal."""

MOST_RULES: Final = 16
"""Rules that the line of a list names, and codes that the line of a shield names; the others are only counted or left
out."""
