"""Bodies of requests about prompts.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from server.http.body_checks import known_members, missing, text_at, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, Json

LONGEST_PROMPT: Final = 64 * 1024
"""Characters of a prompt."""

MOST_VARIABLES: Final = 64
LONGEST_VARIABLE: Final = 64

MOST_KEPT: Final = 10_000
"""Versions of one prompt."""

MOST_VERSIONS: Final = 999_999_999

_VARIABLE: Final = re.compile(r"\w+")
USED: Final = re.compile(r"\{\{\s*+(\w++)\s*+\}\}")
"""The use of a variable in the text of a prompt; its group is the variable's name."""


@dataclass(frozen=True, slots=True)
class NewPrompt:
    """The text and the variables of a prompt to be made."""

    prompt: str
    variables: list[str]


@dataclass(frozen=True, slots=True)
class NewVersion:
    """The text and the variables of a version to be made from another one, whose number is `version`."""

    prompt: str
    variables: list[str]
    version: int
    set_as_default: bool


@dataclass(frozen=True, slots=True)
class DefaultVersion:
    """The number of the version that becomes the default."""

    version: int


def read_prompt(document: Document) -> Json:
    """Return the members of `NewPrompt`; raises InvalidJson."""
    known_members(document.members, ["prompt", "variables"])
    return _wording(document.members)


def read_version(document: Document) -> Json:
    """Return the members of `NewVersion`; raises InvalidJson."""
    body = document.members
    known_members(body, ["prompt", "variables", "version", "set_as_default"])
    default = body.get("set_as_default")
    if default is not None and type(default) is not bool:
        raise wrong("set_as_default", "must be true or false")
    return {**_wording(body), "version": _version(body), "set_as_default": default is not False}


def read_default_version(document: Document) -> Json:
    """Return the members of `DefaultVersion`; raises InvalidJson."""
    known_members(document.members, ["version"])
    return {"version": _version(document.members)}


PROMPT: Final = BodyParser(read_prompt, NewPrompt)
VERSION: Final = BodyParser(read_version, NewVersion)
DEFAULT_VERSION: Final = BodyParser(read_default_version, DefaultVersion)


def _wording(body: Json) -> Json:
    prompt, variables = text_at(body, "prompt", "", LONGEST_PROMPT), _variables(body)
    unknown = next((name for name in USED.findall(prompt) if name not in variables), None)
    if unknown is not None:
        shown = unknown if len(unknown) <= LONGEST_VARIABLE else f"{unknown[:LONGEST_VARIABLE]}…"
        raise wrong("prompt", f"uses `{{{{ {shown} }}}}`, which is not one of `variables`")
    return {"prompt": prompt, "variables": variables}


def _variables(body: Json) -> list[str]:
    variables = body.get("variables")
    if variables is None:
        return []
    if type(variables) is not list or len(variables) > MOST_VARIABLES:
        raise wrong("variables", f"must be a list of at most {MOST_VARIABLES} names")
    for place, name in enumerate(variables):
        if type(name) is not str or len(name) > LONGEST_VARIABLE or not _VARIABLE.fullmatch(name):
            demand = f"must be a name of 1 to {LONGEST_VARIABLE} letters, digits and `_`"
            raise wrong(f"variables[{place}]", demand)
        if name in variables[:place]:
            raise wrong(f"variables[{place}]", "is there already")
    return variables


def _version(body: Json) -> int:
    if "version" not in body:
        raise missing("version")
    version: int = body["version"]
    if type(version) is not int or not 1 <= version < MOST_VERSIONS:
        raise wrong("version", "must be the number of a version, a whole number from 1 on")
    return version
