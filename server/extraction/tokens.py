"""Numbers of tokens: by the tokenizer of an embedding model, or estimated from bytes.

This module runs in the child process; the package `tokenizers` is imported only where a tokenizer is given.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

BYTES_OF_TOKEN: Final = 4
"""Bytes of UTF-8 that count as a token where there is no tokenizer."""

LONGEST_TOKEN: Final = 16
"""Bytes for each token of its size that a piece may have at most: some tokenizers have one token for any long word."""

_ROOM: Final = 0.97
_LEAST: Final = 0.25


class Measured(Protocol):
    """A text of `count` tokens."""

    count: int

    def prefix(self, tokens: int) -> int:
        """Return how many characters of its beginning have so many tokens, or about so many."""
        ...

    def suffix(self, tokens: int) -> int:
        """Return how many characters of its end have so many tokens, or about so many."""
        ...


class Counter(Protocol):
    """Counts the tokens of texts."""

    longest_token: int
    """Bytes for each token that a piece may have at most."""

    def guess(self, text: str, tokens: int) -> int:
        """Return how many characters of the beginning of a text have about so many tokens."""
        ...

    def measured(self, text: str) -> Measured:
        """Return the text with the number of its tokens."""
        ...


def characters_of(text: str, size: int) -> int:
    """Return how many characters of the beginning of a text have at most so many bytes of UTF-8."""
    text = text[:size]
    return len(text) if text.isascii() else len(text.encode()[:size].decode(errors="ignore"))


class BytesCounter:
    """Four bytes of UTF-8 are a token, and so are the last ones, if they are fewer."""

    longest_token = BYTES_OF_TOKEN

    def guess(self, text: str, tokens: int) -> int:
        """Return how many characters of the beginning of a text have at most so many tokens."""
        return characters_of(text, tokens * BYTES_OF_TOKEN)

    def measured(self, text: str) -> Measured:
        """Return the text with the number of its tokens."""
        return _BytesMeasured(text)


class _BytesMeasured:
    def __init__(self, text: str) -> None:
        self._text = text
        size = len(text) if text.isascii() else len(text.encode())
        self.count = -(-size // BYTES_OF_TOKEN)

    def prefix(self, tokens: int) -> int:
        return characters_of(self._text, tokens * BYTES_OF_TOKEN)

    def suffix(self, tokens: int) -> int:
        limit = tokens * BYTES_OF_TOKEN
        if limit == 0:
            return 0
        text = self._text[-limit:]
        return len(text) if text.isascii() else len(text.encode()[-limit:].decode(errors="ignore"))


class TokenCounter:
    """Counts by the tokenizer in a file of the package `tokenizers`, with the tokens that it sets around a text."""

    longest_token = LONGEST_TOKEN

    def __init__(self, path: str) -> None:
        import tokenizers

        self._tokenizer: Any = tokenizers.Tokenizer.from_file(path)
        self._tokenizer.no_truncation()  # or a text of any length has no more tokens than the model takes
        self._tokenizer.no_padding()
        self._characters = float(BYTES_OF_TOKEN)

    def guess(self, text: str, tokens: int) -> int:
        """Return how many characters of the beginning of a text probably have at most so many tokens."""
        return max(1, min(len(text), int(tokens * self._characters * _ROOM)))

    def measured(self, text: str) -> Measured:
        """Return the text with the number of its tokens, which later guesses follow."""
        encoded = self._tokenizer.encode(text)
        self._characters = max(_LEAST, len(text) / max(1, len(encoded)))
        return _TokensMeasured(len(text), encoded)


class _TokensMeasured:
    def __init__(self, length: int, encoded: Any) -> None:
        self.count = len(encoded)
        self._length = length
        self._encoded = encoded

    def prefix(self, tokens: int) -> int:
        return self._length if tokens >= self.count else self._place(tokens)

    def suffix(self, tokens: int) -> int:
        if tokens == 0:
            return 0
        return self._length if tokens >= self.count else self._length - self._place(self.count - tokens)

    def _place(self, token: int) -> int:
        """Return where a token begins; those that the tokenizer sets around a text have no place."""
        place = self._encoded.token_to_chars(token)
        return int(place[0]) if place is not None else min(self._length, self._length * token // max(1, self.count))
