"""Diagnostics from pydantic's errors, with their places in the file."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from policy.authentication import OLD_KEYS, about_old_keys
from policy.fields import kind_of
from policy.source.diagnostics import Diagnostic, Severity, Span, hint_of, misspelling_of, quoted
from policy.source.document import Scalar, Sequence
from policy.source.environment import has_expression
from server.config.api_names import SECTIONS, about_api, is_missing
from server.config.base import UnknownSetting
from server.config.raw_value import UNRESOLVED, RawValue
from server.config.tree import Path, TreeReader
from server.config.types import refusal, text, unknown_choice

FINDING_LIMIT: Final = 100
"""Most mistakes that are explained; a file with more has another problem."""

EMPTY_VARIABLE: Final = "empty-variable"
"""The code of an error about a variable without a value where one is needed."""

_NO_BLANK: Final = re.compile(r"[a-z_]+:(?!/)\S")
"""The beginning of a key and its value without a blank between them, which are one text for YAML."""

_EXAMPLES: Final = {"kvstore": "write `kvstore: {type: sqlite, db_path: ./quotas.db}`"}
"""What to write for a key that is missing."""

_HOMES: Final = {
    "auth": "it belongs under `server`",
    "access_policy": "it belongs under `server.auth`",
    "route_policy": "it belongs under `server.auth`",
}


def explain(error: ValidationError, reading: TreeReader) -> list[Diagnostic]:
    """Return one diagnostic for each mistake, up to a hundred; unresolved values are reported already and get none."""
    details = error.errors(include_url=False)
    misspelt = {meant for detail in details[:FINDING_LIMIT] if (meant := _meant(detail, reading)) is not None}
    found = (_explained(detail, reading) for detail in details if _lacked(detail, reading) not in misspelt)
    return list(islice((diagnostic for diagnostic in found if diagnostic is not None), FINDING_LIMIT))


def label(path: Path) -> str:
    """Return the name of the value at `path` in messages: its key, with the number of an entry of a list."""
    names = [step for step in path if isinstance(step, str)]
    if not names:
        return "the configuration"
    after = path[len(path) - path[::-1].index(names[-1]) :]
    return quoted(names[-1] + "".join(f"[{step}]" for step in after))


def _meant(detail: ErrorDetails, reading: TreeReader) -> Path | None:
    """Return the place that an unknown key is a misspelling of."""
    stand_in = detail["input"]
    if detail["type"] != "extra_forbidden" or not isinstance(stand_in, UnknownSetting):
        return None
    path, _ = _located(detail["loc"], reading)
    near = misspelling_of(str(path[-1]), stand_in.known)
    return None if near is None else (*path[:-1], near)


def _lacked(detail: ErrorDetails, reading: TreeReader) -> Path | None:
    """Return the place of a missing key; None if it is present in another spelling."""
    path, lacking = _located(detail["loc"], reading)
    return (*path, str(lacking)) if detail["type"] == "missing" else None


def _explained(detail: ErrorDetails, reading: TreeReader) -> Diagnostic | None:
    path, lacking = _located(detail["loc"], reading)
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_key(path, detail["input"], reading)
        case "default_factory_not_called":
            return None
        case _ if reading.at(path) is UNRESOLVED:
            return None
        case "refused":
            return _refused(path, context, reading)
        case "missing":
            return _lacking(path, str(lacking), "", reading)
        case "unknown-member":
            return _unknown_member(path, context["key"], context["known"].split(), reading)
        case "tuple_type":
            return _wrong_kind(path, "a list", reading)
        case "dict_type" | "model_type" | "model_attributes_type":
            return _wrong_kind(path, "a mapping", reading)
    return _error(reading.span(path), "wrong-value", f"{label(path)} can't be used as it is")


def _located(steps: tuple[str | int, ...], reading: TreeReader) -> tuple[Path, str | int | None]:
    """Return the innermost value that the steps lead to, and the last step if it leads nowhere.

    Pydantic puts the tags of unions among the steps; these are skipped.
    """
    value: object = reading.tree
    path: Path = ()
    lacking: str | int | None = None
    for step in steps:
        lacking = step
        if isinstance(value, dict):
            inside = step in value
        else:
            inside = isinstance(value, tuple) and isinstance(step, int) and step < len(value)
        if inside:
            value = value[step]  # type: ignore[index]  # a mapping or a list, which has it
            path, lacking = (*path, step), None
    return path, lacking


def _unknown_key(path: Path, stand_in: object, reading: TreeReader) -> Diagnostic | None:
    parent, key = path[:-1], str(path[-1])
    span = reading.places[path].key_span or reading.places[path].node.span
    if not isinstance(stand_in, UnknownSetting):
        return _error(span, "repeated-key", f"{label(parent)} has {quoted(key)} under its other name already")
    message = f"{quoted(key)} is not a key of {label(parent)}"
    if parent == ("server", "auth") and key in OLD_KEYS:
        old = [written for written in reading.mapping(parent) if written in OLD_KEYS]
        return _error(span, "misplaced-key", *about_old_keys(old)) if key == old[0] else None
    if parent == ("providers",) and is_missing(key):
        return _error(span, "not-available", about_api(key))
    if key in _HOMES and parent in ((), ("server",)):
        return _error(span, "misplaced-key", message, _HOMES[key])
    known = [name for name in stand_in.known if parent or not (name in SECTIONS and is_missing(SECTIONS[name]))]
    hint = hint_of(key, known) if stand_in.known else "it takes none"
    return _error(span, "unknown-key", message, hint)


def _refused(path: Path, context: dict[str, Any], reading: TreeReader) -> Diagnostic:
    path = (*path, *context["below"])
    sentence = context["sentence"] if context["whole"] else f"{label(path)} {context['sentence']}"
    node = reading.places[path].node
    if reading.at(path) is None and isinstance(node, Scalar) and has_expression(node.text):
        sentence = f"{label(path)} needs a value, and {quoted(node.text)} gives none"
        return _error(reading.span(path), EMPTY_VARIABLE, sentence, context["hint"])
    return _error(reading.span(path), context["code"], sentence, context["hint"])


def _unknown_member(path: Path, key: str, known: list[str], reading: TreeReader) -> Diagnostic | None:
    """Report a value at `path` whose `key` names none of the `known` ones."""
    block = reading.at(path)
    if not isinstance(block, dict):
        return _wrong_kind(path, "a mapping", reading)
    if key not in block:
        return _lacking(path, key, hint_of("", known), reading)
    value = block[key]
    if value is UNRESOLVED:
        return None
    try:
        text(value)
        raise unknown_choice(value, known) if isinstance(value, RawValue) else refusal("wrong-kind", "takes text")
    except PydanticCustomError as refused:
        return _refused((*path, key), refused.context or {}, reading)


def _lacking(path: Path, key: str, hint: str, reading: TreeReader) -> Diagnostic:
    left_out = reading.places.get((*path, key))
    if left_out is None:
        hint = hint or _EXAMPLES.get(key, f"write `{key}: …` in it")
        return _error(reading.span(path), "missing-key", f"{label(path)} has no `{key}`", hint)
    message = f"{label(path)} needs `{key}`, which is left out while its variable is not set"
    return _error(left_out.node.span, "missing-key", message, "write a default: `${env.NAME:=default}`")


def _wrong_kind(path: Path, expected: str, reading: TreeReader) -> Diagnostic:
    node = reading.places[path].node
    if expected == "a list":
        hint = "start each entry with `- `"
    elif isinstance(node, Scalar) and _NO_BLANK.match(node.text):
        hint = "write a blank behind the colon"
    else:
        hint = "write `key: value` lines, without `- `" if isinstance(node, Sequence) else "write `key: value` lines"
    return _error(node.span, "wrong-kind", f"{label(path)} takes {expected}, not {kind_of(node)}", hint)


def _error(span: Span, code: str, message: str, hint: str = "") -> Diagnostic:
    return Diagnostic(Severity.ERROR, code, message, span, hint)
