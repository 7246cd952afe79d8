"""OPA's own decision log, where it is switched on: what OPA needs for it, and which of its lines are events."""

from __future__ import annotations

import json
import re
import shutil
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Final

ARGUMENTS: Final = ("--set", "decision_logs.console=true")

LONGEST_EVENT: Final = 512 * 1024
"""Bytes; two hundred questions asked together take a quarter of it."""

_MASK: Final = Path(__file__).parents[3] / "rego" / "system" / "log" / "mask.rego"
_EVENT: Final = b'"msg":"Decision Log"'
_ODD: Final = re.compile(r"[^ -~]")


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
    """Return the line as printable ASCII if it is an event of the decision log; its quotes within texts are escaped."""
    if _EVENT not in line:
        return None
    text = line.decode(errors="replace").strip()
    return text if text.isascii() and text.isprintable() else _ODD.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return encode_basestring_ascii(found[0])[1:-1]
