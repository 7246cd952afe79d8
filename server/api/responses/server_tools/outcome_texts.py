"""The texts of what a tool has come to: all that anyone but this server has written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from server.api.responses.server_tools.tool import Outcome


def texts_in(outcome: Outcome) -> list[str]:
    """Return every text of an outcome once, and the names of members, those of one object together."""
    told = () if outcome.tell is not None else (outcome.told,)
    named = (source.filename for source in outcome.sources)
    inside = _all([outcome.members, *(members for _, members in outcome.events)])
    return [*dict.fromkeys(text for text in (*told, *inside, *named) if text)]


def with_texts(outcome: Outcome, texts: Mapping[str, str]) -> Outcome | None:
    """Return the outcome with other texts in the places of its own; None where one of them is the name of a member."""
    changed = {before: after for before, after in texts.items() if before != after}
    if any(name in changed for name in _names([outcome.members, *(members for _, members in outcome.events)])):
        return None
    members = _put(outcome.members, changed)
    return replace(
        outcome,
        told=changed.get(outcome.told, outcome.told) if outcome.tell is None else outcome.tell(members),
        members=members,
        events=[(name, _put(about, changed)) for name, about in outcome.events],
        sources=[each._replace(filename=changed.get(each.filename, each.filename)) for each in outcome.sources],
    )


def _all(values: Sequence[Any]) -> Iterator[str]:
    yield from _names(values)
    for value in _inside(values):
        if type(value) is str:
            yield value


def _names(values: Sequence[Any]) -> Iterator[str]:
    for value in _inside(values):
        if isinstance(value, Mapping) and value:
            yield "\n".join(value)


def _inside(values: Sequence[Any]) -> Iterator[Any]:
    """Yield the values and all that they hold."""
    waiting = [*reversed(values)]
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, Mapping):
            waiting += reversed([*value.values()])
        elif isinstance(value, list | tuple):
            waiting += reversed(value)


def _put(value: Any, texts: Mapping[str, str]) -> Any:
    """Return a value, which JSON has bounded in its depth, with other texts in it."""
    if type(value) is str:
        return texts.get(value, value)
    if isinstance(value, Mapping):
        return {name: _put(inner, texts) for name, inner in value.items()}
    return [_put(inner, texts) for inner in value] if isinstance(value, list | tuple) else value
