"""OpenAI's categories of moderations, and the categories of our shields that fall under them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from server.config.llama_guard import VERSIONS
from server.safety.shield import Finding

CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
"""OpenAI's categories; clients need all of them in each result."""

_OF_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "Violence and Hate": ("violence", "hate"),
    "Criminal Planning": ("illicit",),
    "Guns and Illegal Weapons": ("illicit/violent",),
    "Regulated or Controlled Substances": ("illicit",),
    "Violent Crimes": ("violence", "illicit/violent"),
    "Non-Violent Crimes": ("illicit",),
    "Sex-Related Crimes": ("sexual", "illicit"),
    "Sex Crimes": ("sexual", "illicit"),
    "Child Sexual Exploitation": ("sexual/minors", "sexual"),
    "Child Exploitation": ("sexual/minors", "sexual"),
    "Indiscriminate Weapons": ("illicit/violent",),
    "Hate": ("hate",),
    "Self-Harm": ("self-harm",),
    "Suicide & Self-Harm": ("self-harm",),
    "Sexual Content": ("sexual",),
}
"""OpenAI's categories for the names of Llama Guard's; the other names are ours."""

_OF_FILTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "HATE": ("hate",),
    "INSULTS": ("harassment",),
    "SEXUAL": ("sexual",),
    "VIOLENCE": ("violence",),
    "MISCONDUCT": ("illicit",),
}

_CONFIDENCE: Final = {"NONE": 0.0, "LOW": 0.33, "MEDIUM": 0.66, "HIGH": 1.0}


def of_guard(taxonomy: str, code: str, score: float | None) -> Finding:
    """Return the finding of a code of Llama Guard; one that the taxonomy hasn't got stays as it is."""
    name = VERSIONS[taxonomy].categories.get(code)
    certain = 1.0 if score is None else score
    if name is None:
        return Finding(code, score=certain)
    openai = _OF_NAMES.get(name, ())
    return Finding(code, openai, None if openai else _own(name), certain)


def of_filter(kind: str, confidence: str) -> Finding:
    """Return the finding of a content filter of Bedrock."""
    openai = _OF_FILTERS.get(kind, ())
    return Finding(kind, openai, None if openai else _own(kind), _CONFIDENCE.get(confidence, 1.0))


def of_words(category: str) -> Finding:
    """Return the finding of a list of words, whose category may have one of OpenAI's names."""
    known = category in CATEGORIES
    return Finding(category, (category,) if known else (), None if known else _own(category))


def _own(name: str) -> str:
    """Return the key of a category of ours: small letters, and `_` for what joins words."""
    return "_".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split()) or "other"
