"""Secrets that lie in files of their own, where something else renews them while the server runs."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 16 * 1024

HEADER_TEXT: Final = re.compile(r"[\x21-\x7e]+")
"""What a bearer token may hold: no blank, no line break, nothing beyond ASCII."""

_PLAIN: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class UnusableSecret(ValueError):
    """The file holds no secret that can be used; the message goes on from the file's name and quotes nothing of it."""


def read_secret(path: Path, *, for_header: bool) -> str:
    """The text of the file without the line break at its end; raises UnusableSecret.

    `for_header` asks for what a header can carry as it is.
    """
    try:
        content = _read(path)
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UnusableSecret(f"can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UnusableSecret("holds something other than text") from None
    if not text:
        raise UnusableSecret("is empty")
    if for_header and not HEADER_TEXT.fullmatch(text):
        raise UnusableSecret("holds a blank, a line break or another character that a header can't carry")
    if not _PLAIN.fullmatch(text):
        raise UnusableSecret("holds a line break or another control character")
    return text


def _read(path: Path) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - Path.open would wait for a writer if this were a pipe
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UnusableSecret("is not a regular file")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UnusableSecret(f"has more than {MAX_BYTES} bytes")
    return content
