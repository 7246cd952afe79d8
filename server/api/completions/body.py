"""The members of a request for completions that this server reads; the provider reads the others.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from server.api.models.inputs import BYTES_OF_A_TOKEN, Inputs, inputs_of
from server.api.models.request_body import (
    MOST_COST,
    ModelBody,
    built,
    check_spelling,
    check_usage,
    cost_told,
    number_of,
    read_model,
    read_stream,
)
from server.http.body_checks import wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, Json

MOST_COMPLETIONS: Final = 2048
"""Completions that one request may have made, of all its prompts."""

COMPLETION_TOKENS: Final = 1_000
"""Tokens that are set aside for each completion where the body doesn't say how long it may be."""

OWN: Final = frozenset({"prompt", "suffix"})
"""Members that chats haven't got."""

_LENGTHS: Final = ("max_tokens", "max_completion_tokens", "n_predict")
_READ_HERE: Final = frozenset({"model", "prompt", "suffix", "stream", "stream_options", "n", "best_of", *_LENGTHS})


@dataclass(frozen=True, slots=True)
class CompletionsBody(ModelBody):
    """The body of a request for completions; the answer has `count` choices, those of all prompts."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class _Prompts:
    """The prompts of a body: `made` is the number of completions, of which not all may be returned."""

    inputs: Inputs
    made: int


def read_completions(document: Document) -> Json:
    """Return the members of a CompletionsBody; raises InvalidJson with the place of what is wrong."""
    return _read(document)[0]


def read_costed_completions(document: Document) -> Json:
    """Return what `read_completions` returns, and the cost; raises InvalidJson where that might be more."""
    told, prompts = _read(document)
    body = document.members
    suffix = body.get("suffix")
    more = len(suffix.encode()) // BYTES_OF_A_TOKEN if type(suffix) is str else 0
    prompt = prompts.inputs.tokens + more * prompts.inputs.count
    # Whichever of the names a provider goes by, it may go as far as the greatest.
    limits = [limit for name in _LENGTHS if (limit := _length(body, name)) is not None]
    most = prompt + prompts.made * (max(limits) if limits else COMPLETION_TOKENS)
    least = most if limits else prompt + 1
    if told["stream"]:
        check_usage(document)
    return told | {"cost": cost_told(least, most)}


def _read(document: Document) -> tuple[Json, _Prompts]:
    body = document.members
    check_spelling(body, _READ_HERE)
    told = read_model(document, OWN) | read_stream(document)
    given = body.get("prompt")
    # A provider begins anew where there is no prompt.
    inputs = Inputs(1, 1) if given is None else inputs_of(given, "prompt", may_be_empty=True)
    choices = number_of(body, "n") or 1
    made = _best_of(body, choices, streamed=told["stream"])
    if inputs.count * max(choices, made) > MOST_COMPLETIONS:
        raise wrong("n", f"brings the completions of this request to more than {MOST_COMPLETIONS}")
    return {**told, "count": inputs.count * choices}, _Prompts(inputs, inputs.count * max(choices, made))


def _best_of(body: Json, choices: int, *, streamed: bool) -> int:
    """Return the completions of which the best are returned for each prompt."""
    best_of = body.get("best_of")
    if best_of is None:
        return choices
    if type(best_of) is not int or best_of < choices:
        raise wrong("best_of", f"must be a whole number of at least {choices}, which is `n`")
    if streamed and best_of > 1:
        raise wrong("best_of", "must be 1 in a stream, since the best is known in the end alone")
    return best_of


def _length(body: Json, name: str) -> int | None:
    """Return the most tokens of a completion, which may be none: then the prompt alone is looked at."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise wrong(name, "must be a whole number of at least 0")
    return min(value, MOST_COST)


def completions_body(
    cost: Json | None = None, found: Json | None = None, asking: Any = None, **members: Any
) -> CompletionsBody:
    """Return the body of which a check has returned these members."""
    return CompletionsBody(**members, **built(cost, found, asking))


COMPLETIONS: Final = BodyParser(read_completions, completions_body)
COSTED_COMPLETIONS: Final = BodyParser(read_costed_completions, completions_body)
"""As `COMPLETIONS`, with the cost."""
