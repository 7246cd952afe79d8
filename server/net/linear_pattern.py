"""Regular expressions matched in time linear in the text.

Python's own engine may take exponential time on a text that a client chooses. The pattern is parsed by Python's parser,
so that its meaning is the same, and becomes an automaton that is in many states at once and never backtracks.
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
    """Raised for a pattern with a construct that no such automaton matches; the message names it."""


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
        """Return whether the pattern matches the whole text."""
        return text.isascii() and self._fullmatch(text) is not None
