"""`inline::keyword`: lists of words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

import re2  # type: ignore[import-untyped] # the wheel has no stubs

from server.fairness.threads import in_thread
from server.safety.categories import of_words
from server.safety.shield import SAFE, Direction, Judges, Said, Verdict, answer_in

_QUICK: Final = 4 * 1024
"""Characters that are searched at once, without a thread."""

_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters that Unicode says are ignorable by default."""

_NO_LETTER: Final = r"[^\pL\pM\pN_]"
_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 64 * 1024 * 1024


class Keywords:
    """Flags texts that have one of the words of a category, whatever their case, width and invisible characters."""

    reads_images = False

    def __init__(self, categories: Mapping[str, Sequence[str]], *, whole_words: bool) -> None:
        self._patterns = {name: _pattern(words, whole_words=whole_words) for name, words in categories.items()}

    async def check(self, said: Sequence[Said], direction: Direction, judges: Judges) -> Verdict:
        """Return the verdict on the texts; on the output, on those of the answer."""
        looked_at = said if direction is Direction.INPUT else answer_in(said)
        texts = [each.text for each in looked_at]
        quick = sum(map(len, texts)) <= _QUICK
        found = self._found(texts) if quick else await in_thread(self._found, texts)
        return Verdict(flagged=True, findings=tuple(map(of_words, found))) if found else SAFE

    def _found(self, texts: Sequence[str]) -> list[str]:
        """Return the categories of which a word is in one of the texts, or in two that follow each other."""
        whole = _plain("\n".join(texts))
        return [name for name, pattern in self._patterns.items() if pattern.search(whole)]


def _plain(text: str) -> str:
    """Return the text in one form and case, with single blanks and without invisible characters."""
    one_form = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold()
    return " ".join(one_form.encode(errors="replace").decode().split())


def _pattern(words: Sequence[str], *, whole_words: bool) -> Any:
    plain = sorted({_plain(word) for word in words}, key=len, reverse=True)
    listed = "|".join(re2.escape(word) for word in plain if word)
    return re2.compile(rf"(?:^|{_NO_LETTER})(?:{listed})(?:$|{_NO_LETTER})" if whole_words else listed, _OPTIONS)
