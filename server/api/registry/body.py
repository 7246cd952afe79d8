"""Bodies of requests that register an entry or a model.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from policy.model_choices import MOST_ALIASES, MOST_NAMED, MOST_WEIGHT
from server.http.body_checks import LONGEST_KEY, MOST_KEYS, known_members, missing, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, InvalidJson, Json, Why

LONGEST_ID: Final = 256
"""Bytes of an identifier in UTF-8."""

LONGEST_TEXT: Final = 2048
"""Characters of any other text that has a meaning here."""

MOST_BYTES: Final = 16 * 1024
"""Bytes of a body that registers a resource: lists show all of it."""

_UNREACHABLE: Final = re.compile(r"\\|%[0-9A-Fa-f]{2}|(?:\A|/)\.{0,2}(?:/|\Z)")
"""Text that the path of a request cannot hold, or holds with another meaning."""

_PURPOSES: Final = ("post-training/messages", "eval/question-answer", "eval/messages-answer")
_RETURNED: Final = (
    *("string", "number", "boolean", "array", "object", "json", "union"),
    *("chat_completion_input", "completion_input", "agent_turn_input"),
)
_MOST_FUNCTIONS: Final = 100

Check = Callable[[object, str], Any]
"""A function that returns the kept form of the value at a place; raises InvalidJson."""


@dataclass(frozen=True, slots=True)
class NewModel:
    """A model to be registered; `provider_id` is None where the body leaves the choice to the server."""

    model_id: str
    provider_id: str | None
    provider_model_id: str
    model_type: str
    metadata: Json
    fallback: list[str]
    weights: dict[str, int]
    aliases: list[str]


@dataclass(frozen=True, slots=True)
class NewEntry:
    """Another entry to be registered: its id (`name`), and its members as they are shown (`described`).

    `name` is None where the body leaves the choice to the server.
    """

    name: str | None
    provider_id: str | None
    provider_resource_id: str | None
    described: Json


def read_model(document: Document) -> Json:
    """Return the members of `NewModel`; raises InvalidJson."""
    _check_size(document)
    body = document.members
    checks: Mapping[str, Check] = {
        "provider_id": _text,
        "provider_model_id": identifier,
        "model_type": _one_of("llm", "embedding"),
        "metadata": _metadata,
        "fallback": _fallback,
        "weights": _weights,
        "aliases": _aliases,
    }
    known_members(body, ("model_id", *checks))
    model_id = _needed(body, "model_id", identifier)
    found = {name: _given(body, name, check) for name, check in checks.items()}
    return {
        "model_id": model_id,
        "provider_id": found["provider_id"],
        "provider_model_id": model_id if found["provider_model_id"] is None else found["provider_model_id"],
        "model_type": found["model_type"] or "llm",
        "metadata": found["metadata"] or {},
        "fallback": found["fallback"] or [],
        "weights": found["weights"] or {},
        "aliases": found["aliases"] or [],
    }


def read_shield(document: Document) -> Json:
    """Return the members of `NewEntry` for a shield; raises InvalidJson, as for every kind that follows."""
    return _named(document, "shield", params=_object)


def read_vector_store(document: Document) -> Json:
    """Return a vector store."""
    needed = {"embedding_model": _text}
    return _named(document, "vector_db", needed, embedding_dimension=_positive, vector_db_name=_text)


def read_tool_group(document: Document) -> Json:
    """Return a tool group."""
    return _named(document, "toolgroup", mcp_endpoint=_endpoint, args=_object)


def read_dataset(document: Document) -> Json:
    """Return a dataset; its id is null where the body leaves the choice to the server."""
    needed = {"purpose": _one_of(*_PURPOSES), "source": _source}
    return _named(document, "dataset", needed, is_named=False, metadata=_metadata)


def read_scoring_function(document: Document) -> Json:
    """Return a scoring function."""
    needed = {"description": _text, "return_type": _return_type}
    return _named(document, "scoring_fn", needed, params=_object, metadata=_metadata)


def read_benchmark(document: Document) -> Json:
    """Return a benchmark; the resources that it names are looked up when it is used, on behalf of its user."""
    needed = {"dataset_id": _text, "scoring_functions": _functions}
    return _named(document, "benchmark", needed, metadata=_metadata)


MODEL: Final = BodyParser(read_model, NewModel)
ENTRIES: Final[Mapping[str, BodyParser[NewEntry]]] = {
    "shield": BodyParser(read_shield, NewEntry),
    "vector_store": BodyParser(read_vector_store, NewEntry),
    "tool_group": BodyParser(read_tool_group, NewEntry),
    "dataset": BodyParser(read_dataset, NewEntry),
    "scoring_function": BodyParser(read_scoring_function, NewEntry),
    "benchmark": BodyParser(read_benchmark, NewEntry),
}
"""The parser of each type of entries, by its name in rules."""


def identifier(value: object, place: str) -> str:
    """Return a name that a path can hold, so that its resource can be read and removed; raises InvalidJson."""
    name = _text(value, place)
    if len(name.encode()) > LONGEST_ID:
        raise wrong(place, f"must have at most {LONGEST_ID} bytes")
    if not name.isprintable() or name != name.strip() or _UNREACHABLE.search(name):
        raise wrong(place, "must be printable and fit into a path: no `\\`, no `%2F`, no blank ends, no dot segments")
    return name


def _named(
    document: Document,
    word: str,
    needed: Mapping[str, Check] | None = None,
    *,
    is_named: bool = True,
    **optional: Check,
) -> Json:
    """Return an entry named by `word`_id, with `needed` members, and `optional` ones that may be null or missing."""
    _check_size(document)
    body, needed = document.members, needed or {}
    own = f"provider_{word}_id"
    known_members(body, (f"{word}_id", "provider_id", own, *needed, *optional))
    name = (_needed if is_named else _given)(body, f"{word}_id", identifier)
    provider_id, resource_id = (_given(body, member, identifier) for member in ("provider_id", own))
    described = {member: _needed(body, member, check) for member, check in needed.items()}
    described |= {member: _given(body, member, check) for member, check in optional.items()}
    if "metadata" in optional:
        described["metadata"] = described["metadata"] or {}
    return {"name": name, "provider_id": provider_id, "provider_resource_id": resource_id, "described": described}


def _check_size(document: Document) -> None:
    """Raise InvalidJson for a body that is too large; nothing of it is told to the server's process."""
    if len(document.raw) > MOST_BYTES:
        raise InvalidJson(f"what is registered has at most {MOST_BYTES} bytes", why=Why.TOO_COMPLEX)


def _needed(body: Json, name: str, check: Check) -> Any:
    if body.get(name) is None:
        raise missing(name)
    return check(body[name], name)


def _given(body: Json, name: str, check: Check) -> Any:
    return None if body.get(name) is None else check(body[name], name)


def _text(value: object, place: str) -> str:
    if type(value) is not str or not 0 < len(value) <= LONGEST_TEXT or "\0" in value:
        raise wrong(place, f"must be a text of 1 to {LONGEST_TEXT} characters without a NUL")
    return value


def _one_of(*words: str) -> Check:
    def check(value: object, place: str) -> object:
        if value not in words:
            raise wrong(place, f"must be one of {', '.join(f'`{word}`' for word in words)}")
        return value

    return check


def _positive(value: object, place: str) -> int:
    if type(value) is not int or not 0 < value < 2**31:
        raise wrong(place, "must be a whole number above 0")
    return value


def _object(value: object, place: str) -> Json:
    if type(value) is not dict:
        raise wrong(place, "must be an object")
    if _has_nul(value):
        raise wrong(place, "holds a NUL")
    return value


def _metadata(value: object, place: str) -> Json:
    found = _object(value, place)
    if len(found) > MOST_KEYS or not all(0 < len(name) <= LONGEST_KEY for name in found):
        raise wrong(place, f"must have at most {MOST_KEYS} members, with names of 1 to {LONGEST_KEY} characters")
    return found


def _aliases(value: object, place: str) -> list[str]:
    if type(value) is not list or len(value) > MOST_ALIASES:
        raise wrong(place, f"must be a list of at most {MOST_ALIASES} names")
    return [identifier(name, f"{place}[{index}]") for index, name in enumerate(value)]


def _fallback(value: object, place: str) -> list[str]:
    if type(value) is not list or len(value) > MOST_NAMED:
        raise wrong(place, f"must be a list of at most {MOST_NAMED} names of models")
    names = [_text(name, f"{place}[{index}]") for index, name in enumerate(value)]
    if len({*names}) < len(names):
        raise wrong(place, "names a model twice")
    return names


def _weights(value: object, place: str) -> dict[str, int]:
    if type(value) is not dict or len(value) > MOST_NAMED:
        raise wrong(place, f"must be an object of at most {MOST_NAMED} names of models with their weights")
    for name, weight in value.items():
        _text(name, place)
        if type(weight) is not int or not 0 <= weight <= MOST_WEIGHT:
            raise wrong(place, f"must hold whole numbers from 0 to {MOST_WEIGHT}")
    if value and not any(value.values()):
        raise wrong(place, "must have a weight above 0")
    return value


def _endpoint(value: object, place: str) -> Json:
    found = _object(value, place)
    known_members(found, ("uri",), place)
    return {"uri": _text(found.get("uri"), f"{place}.uri")}


def _source(value: object, place: str) -> Json:
    found = _object(value, place)
    kind = _one_of("uri", "rows")(found.get("type"), f"{place}.type")
    known_members(found, ("type", kind), place)
    if kind == "uri":
        return {"type": kind, "uri": _text(found.get("uri"), f"{place}.uri")}
    rows = found.get("rows")
    if type(rows) is not list or not all(type(row) is dict for row in rows):
        raise wrong(f"{place}.rows", "must be a list of objects")
    return {"type": kind, "rows": rows}


def _return_type(value: object, place: str) -> Json:
    found = _object(value, place)
    known_members(found, ("type",), place)
    return {"type": _one_of(*_RETURNED)(found.get("type"), f"{place}.type")}


def _functions(value: object, place: str) -> list[str]:
    if type(value) is not list or len(value) > _MOST_FUNCTIONS:
        raise wrong(place, f"must be a list of at most {_MOST_FUNCTIONS} names")
    return [_text(name, f"{place}[{index}]") for index, name in enumerate(value)]


def _has_nul(value: object) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(map(_has_nul, value)) or any(map(_has_nul, value.values()))
        case list():
            return any(map(_has_nul, value))
    return False
