"""Regular expressions that match in a time which grows with the length of the text alone.

Python's engine may take for ever on a text that a client chooses. RE2 never goes back, and reads the patterns that it
takes as Python does, but for the few that are refused here.
"""

from __future__ import annotations

import re
from typing import Final

import re2  # type: ignore[import-untyped] # the wheel has no stubs

_READ_OTHERWISE: Final = re.compile(r"\{,|\[\[:")
"""`{,3}` is a repetition to Python and plain text to RE2; `[[:alpha:]]` is a class of letters to RE2 alone."""

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False


class NotLinear(ValueError):
    """RE2 does not take the pattern; the message names the constructs that it may be about."""


class LinearPattern:
    """Matches whole texts of ASCII characters without line ends, as `re.fullmatch` does; no other text matches.

    Raises what `re.compile` raises, and NotLinear for look-arounds, back-references and patterns that are too large.
    """

    def __init__(self, pattern: str) -> None:
        re.compile(pattern)
        if _READ_OTHERWISE.search(pattern):
            raise NotLinear("`{,n}` and `[[:`")
        try:
            self._fullmatch = re2.compile(pattern, _OPTIONS).fullmatch
        except re2.error:
            raise NotLinear("look-arounds, back-references, `\\Z` or very many repetitions") from None

    def fullmatch(self, text: str) -> bool:
        """Return whether the pattern describes the whole text."""
        return text.isascii() and self._fullmatch(text) is not None
