"""Limits of the reading of one file."""

from __future__ import annotations

from typing import Final

LARGEST_WHOLE: Final = 512 * 1024 * 1024
"""Bytes of a file of a kind that can't be read from its beginning to its end alone."""

MEMORY: Final = 1024 * 1024 * 1024
"""Bytes of address space that reading one file may take."""

CPU_SECONDS: Final = 60
"""Seconds of a processor that reading one file may take, besides those for its size."""

BYTES_PER_SECOND: Final = 500_000
"""Bytes of a file for which reading it may take one more second of a processor. To count the tokens of a text takes a
third of that, and twice as much where other processes share the core."""

MOST_CPU_SECONDS: Final = 1200
"""Seconds of a processor that reading one file may take, whatever its size."""

PATIENCE: Final = 10
"""Seconds that reading a file may take for each second of a processor that it may use."""

OPEN_FILES: Final = 16
"""Files that the process may have open."""

MOST_PIECES: Final = 2_000_000
"""Pieces of one file."""

MOST_CHARACTERS: Final = 64 * 1024 * 1024
"""Characters of text that a file may have whose kind lets it say the same again and again."""

MOST_PAGES: Final = 20_000
"""Pages of one file."""

MOST_MEMBERS: Final = 10_000
"""Members of an archive."""

MOST_INFLATED: Final = 1024 * 1024 * 1024
"""Bytes that the parts of a file may have together."""

FREE_INFLATED: Final = 16 * 1024 * 1024
"""Bytes that they may have, however small the file is."""

RATIO: Final = 200
"""Bytes that they may have for each byte of the file, besides the free ones."""

DEEPEST_ELEMENT: Final = 1000
"""Elements inside each other."""

MOST_PARTS: Final = 1000
"""Parts of one e-mail, with those of the messages inside it."""

DEEPEST_MESSAGE: Final = 4
"""Messages inside each other that are read."""
