"""Names that clients give their files: kept as text, shown as text, and never part of a path or of a header as sent."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from server.http.errors import invalid

LONGEST_NAME: Final = 255
"""Characters of a file's name."""

# Controls, line and paragraph separators, half surrogate pairs, and what makes text appear in another order than it is.
_ODD: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9 !#$&'()+,.;=@^_`{}~\[\]-]")
_UNESCAPED: Final = "!#$&+-.^_`|~"


def plain_name(sent: str) -> str:
    """Return the last part of the name that a client gives its file; raises the 400 for a name that has none."""
    name = re.split(r"[/\\]", sent)[-1].strip()
    if name in ("", ".", ".."):
        raise invalid("the `filename` of `file` names no file", "file", "invalid_value")
    if len(name) > LONGEST_NAME:
        raise invalid(f"the `filename` of `file` is longer than {LONGEST_NAME} characters", "file", "invalid_value")
    if _ODD.search(name):
        raise invalid("the `filename` of `file` has a control character", "file", "invalid_value")
    return name


def attachment(name: str) -> str:
    """Return the `Content-Disposition` with which a browser saves a file under that name (RFC 6266), in ASCII."""
    plain = _NOT_PLAIN.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_UNESCAPED)}"
