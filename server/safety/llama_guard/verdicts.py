"""The verdicts that a Llama Guard writes, read to the letter: anything else is a failure of the shield."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from typing import Any, Final

from server.inference.provider import Task
from server.safety.shield import ShieldFailed

LONGEST: Final = 1000
"""Characters of a text that can be a verdict."""

_UNSAFE: Final = "unsafe"
_WRITTEN: Final = re.compile(r"unsafe(?:[\s,:]+.*)?(?:[SO]\d.*)?", re.IGNORECASE | re.DOTALL)
_BETWEEN: Final = " \t\r\n,;:."
_CODE: Final = re.compile(r"(?<![A-Za-z0-9])[SO][0-9]{1,2}(?![0-9])")


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict: whether the text is unsafe, the codes of its categories, and the probability that it is unsafe.

    `says_more` if something that is no code stands among them.
    """

    unsafe: bool
    codes: tuple[str, ...]
    score: float | None
    says_more: bool = False


def judgement(answer: Any, task: Task) -> Judgement:
    """Return the verdict in the answer of a model to a `task`; raises ShieldFailed."""
    try:
        [choice] = answer["choices"]
        text = choice["message"]["content"] if task is Task.CHAT else choice["text"]
    except (LookupError, TypeError, ValueError):
        raise ShieldFailed("the model that judges answered with something other than one text") from None
    if type(text) is not str or len(text) > LONGEST:
        raise ShieldFailed("the model that judges answered with something other than a verdict")
    written = text.strip()
    if written.lower() == "safe":
        return Judgement(unsafe=False, codes=(), score=_score(choice, task))
    if not _WRITTEN.fullmatch(written):
        raise ShieldFailed("the model that judges answered with something other than `safe` or `unsafe`")
    told = written[len(_UNSAFE) :]
    codes = tuple(dict.fromkeys(_CODE.findall(told)))
    says_more = bool(_CODE.sub("", told).strip(_BETWEEN))
    return Judgement(unsafe=True, codes=codes, score=_score(choice, task), says_more=says_more)


def _score(choice: Any, task: Task) -> float | None:
    """Return the probability that the answer begins with `unsafe`; None where the provider doesn't tell it."""
    try:
        likely = next(_chat_tokens(choice) if task is Task.CHAT else _text_tokens(choice))
        found = [exp(min(0.0, number)) for token, number in likely if _UNSAFE.startswith(token.strip().lower() or " ")]
    except (StopIteration, LookupError, TypeError, AttributeError, ValueError):
        return None
    return round(min(1.0, sum(found)), 6) if found else None


def _chat_tokens(choice: Any) -> Iterator[list[tuple[str, float]]]:
    for place in choice["logprobs"]["content"]:
        if place["token"].strip():
            yield [(each["token"], each["logprob"]) for each in place["top_logprobs"]]


def _text_tokens(choice: Any) -> Iterator[list[tuple[str, float]]]:
    told = choice["logprobs"]
    for token, likely in zip(told["tokens"], told["top_logprobs"], strict=True):
        if token.strip():
            yield [*likely.items()]
