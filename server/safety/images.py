"""Images in requests, as shields take them that read images."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from dataclasses import dataclass
from typing import Any, Final

MOST_IMAGES: Final = 8
"""Images of one request whose texts go through shields."""

_DATA: Final = re.compile(r"data:image/(png|jpeg|jpg);base64,([A-Za-z0-9+/]+={0,2})")
_BEGINNINGS: Final = {"png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff"}
_MEMBERS: Final = frozenset({"type", "image_url"})
_OF_URL: Final = frozenset({"url", "detail"})
_DETAILS: Final = (None, "auto", "high", "low", "original")


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its format, `png` or `jpeg`, and its bytes in base64."""

    format: str
    data: str

    @property
    def url(self) -> str:
        """The image as a URL."""
        return f"data:image/{self.format};base64,{self.data}"


def image_of(part: dict[str, Any]) -> Image | None:
    """Return the image that a part of a message certainly is; None for any other part.

    The bytes have to be in the request: what is at an address may be another image for a shield than for a model.
    """
    told = part.get("image_url")
    if part.get("type") != "image_url" or not part.keys() <= _MEMBERS:
        return None
    if type(told) is not dict or not told.keys() <= _OF_URL or type(told.get("url")) is not str:
        return None
    if told.get("detail") not in _DETAILS:
        return None
    found = _DATA.fullmatch(told["url"])
    if found is None:
        return None
    kind = "jpeg" if found[1] == "jpg" else found[1]
    try:
        content = b64decode(found[2], validate=True)
    except (Error, ValueError):
        return None
    return Image(kind, found[2]) if content.startswith(_BEGINNINGS[kind]) else None
