"""OPA's own decision log, where it is switched on: what OPA needs for it, and which of its lines are events."""

from __future__ import annotations

import json
import shutil
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Final

ARGUMENTS: Final = ("--set", "decision_logs.console=true")

LONGEST_EVENT: Final = 512 * 1024
"""Bytes; two hundred questions asked together take a quarter of it."""

_MASK: Final = Path(__file__).parents[3] / "rego" / "system" / "log" / "mask.rego"
_EVENT: Final = b'"msg":"Decision Log"'


def write_mask(directory: Path) -> Path:
    """Write a bundle in `directory`, for OPA to load beside the policy's, that keeps attributes out of its log; return
    its path.
    """
    bundle = directory / "log-mask"
    bundle.mkdir(mode=0o700, exist_ok=True)
    (bundle / ".manifest").write_text(json.dumps({"roots": ["system/log"], "rego_version": 1}))
    shutil.copyfile(_MASK, bundle / _MASK.name)
    return bundle


def event(line: bytes) -> str | None:
    """Return the line as printable ASCII if it is an event of the decision log; its quotes within texts are escaped.

    It is cut where it gets longer than `LONGEST_EVENT`: what does not fit into the journal would be tried for ever.
    """
    if _EVENT not in line:
        return None
    text = line.decode(errors="replace").strip()
    if text.isascii() and text.isprintable():
        return text[:LONGEST_EVENT]
    # Callers choose names, and a call for each character of theirs would take too long. No escaped text has a NUL.
    escaped = encode_basestring_ascii(text)[1:-1]
    return escaped.replace(r"\\", "\0").replace(r"\"", '"').replace("\0", "\\")[:LONGEST_EVENT]
