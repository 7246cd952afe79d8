"""The messages of a stored chat: the text that is shown, and the sizes of its parts.

The stored form is the text `[sizes,messages]`: `messages` is a list of messages as they are shown, but for their ids,
and `sizes` has the bytes of each. So a page is cut from the text, and nothing is parsed for it. An older server has
stored the messages as they came, which `read_older` turns into this form.

Messages may be prepared in a worker process, so this module imports the standard library and modules that import no
more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from json import dumps, loads
from typing import Any, Final

from server.api.chat.members import MESSAGE
from server.json_input.strict import Document

Json = dict[str, Any]

_NO_PARTS: Final = b',"content_parts":null'


def stored_messages(messages: Sequence[Json]) -> bytes:
    """Return the stored form of the messages of a request."""
    texts = [_shown(message) for message in messages]
    return b"[%b,[%b]]" % (dumps([*map(len, texts)], separators=(",", ":")).encode(), b",".join(texts))


def is_older(text: bytes) -> bool:
    """Return whether a stored text is that of an older server."""
    return text.startswith(b"{")


def read_older(document: Document) -> Json:
    """Return the stored form of messages that an older server has stored, as `text`."""
    return {"text": stored_messages(document.members["messages"])}


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages of the answer `identity`; `places` are the first bytes of each in `text`, and one behind the last.

    A message and the comma behind it are between two places.
    """

    identity: str
    text: memoryview
    places: Sequence[int]

    @classmethod
    def read(cls, identity: str, stored: bytes) -> Messages:
        """Return the messages in their stored form."""
        end = stored.index(b"]") + 1
        first = end + len(",[")
        sizes = loads(stored[1:end])
        return cls(identity, memoryview(stored), [*accumulate((size + 1 for size in sizes), initial=first)])

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self.places) - 1

    def id_of(self, place: int) -> str:
        """Return the id of the message at that place."""
        return f"{self.identity}-{place}"

    def shown(self, places: Sequence[int]) -> Iterator[bytes]:
        """Yield the messages at those places as they are shown."""
        for place in places:
            start, end = self.places[place] + 1, self.places[place + 1] - 1
            yield b'{"id":"%b",' % self.id_of(place).encode() + self.text[start:end]

    def asked(self) -> bytes:
        """Return all of the messages in one list, each with the content that the request gave it."""
        spans = ((start, end - 1) for start, end in pairwise(self.places))
        return b"[%b]" % b",".join(_asked(bytes(self.text[start:end])) for start, end in spans)

    @property
    def size(self) -> int:
        """The bytes of the text."""
        return len(self.text)


def _asked(text: bytes) -> bytes:
    """Return a message as the request had it.

    Inside a text of JSON a quote has a backslash before it, so that what is looked for is a member.
    """
    start = text.rfind(_NO_PARTS)
    if start >= 0:
        return text[:start] + text[start + len(_NO_PARTS) :]
    message = loads(text)
    parts = message.pop("content_parts", None)
    return _written(message if parts is None else message | {"content": parts})


def _written(message: Json) -> bytes:
    return dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _shown(message: Json) -> bytes:
    """Return a message as clients know it: a text is its content, and what consists of parts has those instead."""
    content = message.get("content")
    parts = content if type(content) is list else None
    shown = {**message, "content": None if parts is not None else content, "content_parts": parts}
    shown.pop("id", None)
    MESSAGE.fit(shown)
    return _written(shown)
