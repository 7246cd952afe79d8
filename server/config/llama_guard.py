"""The versions of Llama Guard: the categories of each, by their codes, and the version that a model's name tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_FIRST: Final = {
    "O1": "Violence and Hate",
    "O2": "Sexual Content",
    "O3": "Criminal Planning",
    "O4": "Guns and Illegal Weapons",
    "O5": "Regulated or Controlled Substances",
    "O6": "Self-Harm",
}
_SECOND: Final = {
    "S1": "Violent Crimes",
    "S2": "Non-Violent Crimes",
    "S3": "Sex-Related Crimes",
    "S4": "Child Sexual Exploitation",
    "S5": "Specialized Advice",
    "S6": "Privacy",
    "S7": "Intellectual Property",
    "S8": "Indiscriminate Weapons",
    "S9": "Hate",
    "S10": "Suicide & Self-Harm",
    "S11": "Sexual Content",
}
_SMALL_THIRD: Final = {
    "S1": "Violent Crimes",
    "S2": "Non-Violent Crimes",
    "S3": "Sex Crimes",
    "S4": "Child Exploitation",
    "S5": "Defamation",
    "S6": "Specialized Advice",
    "S7": "Privacy",
    "S8": "Intellectual Property",
    "S9": "Indiscriminate Weapons",
    "S10": "Hate",
    "S11": "Self-Harm",
    "S12": "Sexual Content",
    "S13": "Elections",
}
_THIRD: Final = {**_SMALL_THIRD, "S14": "Code Interpreter Abuse"}


@dataclass(frozen=True, slots=True)
class Version:
    """One version: its `categories` by code, and whether its template takes the content of messages as `in_parts`."""

    categories: Mapping[str, str]
    in_parts: bool = False


VERSIONS: Final[Mapping[str, Version]] = {
    "llama-guard-1": Version(_FIRST),
    "llama-guard-2": Version(_SECOND),
    "llama-guard-3": Version(_THIRD),
    "llama-guard-3-1b": Version(_SMALL_THIRD, in_parts=True),
    "llama-guard-3-vision": Version(_SMALL_THIRD, in_parts=True),
    "llama-guard-4": Version(_THIRD, in_parts=True),
}
"""Every version, by the name that `taxonomy` has for it."""

DEFAULT: Final = "llama-guard-3"
"""The version of a model whose name tells none."""

_NUMBERED: Final = re.compile(r"llama[-_. ]?guard[-_. ]?([234])(?![0-9b.])")
_OLDEST: Final = re.compile(r"llama[-_. ]?guard[-_. :]?(?:7b|1(?![0-9b.]))")
_SMALL: Final = re.compile(r"(?<![0-9])1b(?![a-z0-9])")


def guessed(model: str) -> str | None:
    """Return the version that the name of a model tells, whatever stands in front of it; None if it tells none."""
    name = model.lower()
    found = _NUMBERED.search(name)
    if found is None:
        return "llama-guard-1" if _OLDEST.search(name) else None
    if found[1] != "3":
        return f"llama-guard-{found[1]}"
    rest = name[found.end() :]
    if "vision" in rest:
        return "llama-guard-3-vision"
    return "llama-guard-3-1b" if _SMALL.search(rest) else "llama-guard-3"
