"""Secrets in files, which another program may renew while the server runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from server.local_files.reading import UnreadableFile, read_small

MAX_BYTES: Final = 16 * 1024

MAX_KEY_FILE: Final = 64 * 1024
"""Bytes of a file with the key of a provider."""

HEADER_TEXT: Final = re.compile(r"[\x21-\x7e]+")
"""The form of a bearer token: no blank, no line break, nothing beyond ASCII."""

_PLAIN: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class UnusableSecret(ValueError):
    """Raised for a file without a usable secret; the message continues from the file's name and quotes nothing
    of it.
    """


def read_secret(path: Path, *, for_header: bool, most: int = MAX_BYTES) -> str:
    """Return the text of a file of at most `most` bytes, without a final line break; raise UnusableSecret.

    `for_header` requires a text that a header can carry unchanged.
    """
    try:
        text = read_small(path, most).decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnreadableFile as unreadable:
        raise UnusableSecret(str(unreadable)) from None
    except UnicodeDecodeError:
        raise UnusableSecret("holds something other than text") from None
    if not text:
        raise UnusableSecret("is empty")
    if for_header and not HEADER_TEXT.fullmatch(text):
        raise UnusableSecret("holds a blank, a line break or another character that a header can't carry")
    if not _PLAIN.fullmatch(text):
        raise UnusableSecret("holds a line break or another control character")
    return text
