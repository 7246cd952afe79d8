"""Happenings in the course of a response, which `server.api.responses.loop` is told of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from server.json_input.strict import Json


class Queued(NamedTuple):
    """The response waits; it is answered in the background."""


class Begun(NamedTuple):
    """The model has accepted the request."""


class Said(NamedTuple):
    """A piece of the model's text, with the probabilities of its tokens where these are known."""

    text: str
    logprobs: tuple[Json, ...] = ()


class Refused(NamedTuple):
    """A piece of the text in which the model refuses."""

    text: str


class Thought(NamedTuple):
    """A piece of the model's reasoning."""

    text: str


class Called(NamedTuple):
    """A piece of a call: the first one of a `place` has the `name` and the id."""

    place: int
    call_id: str
    name: str
    arguments: str


class Spent(NamedTuple):
    """The tokens that the answer has cost, as a response tells them."""

    usage: Json


class Moderated(NamedTuple):
    """The results of the shield that the request's `moderation` names, as a chat tells them."""

    results: Json


class Stopped(NamedTuple):
    """The reason that the model gives for the end of its answer, and the stop sequence where it tells that."""

    reason: str
    sequence: str = ""


class Source(NamedTuple):
    """A file of which the model was given a part."""

    file_id: str
    filename: str


class ToolBegun(NamedTuple):
    """A tool of this server begins, with an item of a `kind` that has these `members`; `key` is the one that ends it.

    Each of the `events` is its name behind `response.`, with its members.
    """

    key: int
    kind: str
    members: Mapping[str, Any]
    events: tuple[tuple[str, Json], ...] = ()


class ToolEnded(NamedTuple):
    """That tool has ended with a `status`, further members of its item, and `sources` that the model is given."""

    key: int
    status: str
    members: Mapping[str, Any]
    events: tuple[tuple[str, Json], ...] = ()
    sources: tuple[Source, ...] = ()


class Paused(NamedTuple):
    """The model's answer is at its end, and the tools of this server that it calls come before its next one."""


class Ended(NamedTuple):
    """The answer is at its end, at a time in seconds since 1970."""

    now: int


class Prepared(NamedTuple):
    """The response is over without an answer: the next one goes on from it."""

    now: int


class Failed(NamedTuple):
    """There will be no answer, or no more of one; `code` is one of a response's errors."""

    code: str
    message: str


class Left(NamedTuple):
    """The caller has left before the end, and nothing more is done."""


Happening: TypeAlias = (
    Queued
    | Begun
    | Said
    | Refused
    | Thought
    | Called
    | Spent
    | Moderated
    | Stopped
    | ToolBegun
    | ToolEnded
    | Paused
    | Ended
    | Prepared
    | Failed
    | Left
)
