"""Reading of a chat's answer, whole or in chunks, as what happens to a response."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from server.api.responses.happenings import Called, Happening, Moderated, Refused, Said, Spent, Stopped, Thought
from server.fairness.threads import in_thread
from server.inference.answers.model_name import QUICK
from server.inference.answers.plain import NotAnAnswer, decoded
from server.inference.provider import Fault, Kind, ProviderFailed
from server.json_input.strict import Json

_END: Final = b"\n\n"
_DATA: Final = b"data: "
_DONE: Final = b"[DONE]"
_THOUGHTS: Final = ("reasoning_content", "reasoning")
_STOPPED: Final = ("stop_reason", "matched_stop")
"""Members in which some servers tell the text that has ended an answer."""

_NO_ANSWER: Final = "the provider's answer is no chat completion"


async def read_beside(read: Callable[[bytes], list[Happening]], text: bytes) -> list[Happening]:
    """Return what `read` reads, in a thread if there is much of it; raises ProviderFailed for what is no answer."""
    try:
        return await in_thread(read, text) if len(text) > QUICK else read(text)
    except NotAnAnswer:
        raise ProviderFailed(Fault.PROVIDER, _NO_ANSWER, kind=Kind.BROKEN, spent=True) from None


def read_events(piece: bytes) -> list[Happening]:
    """Return what happens in a piece of a stream, which is whole events; raises NotAnAnswer."""
    found = list[Happening]()
    for event in piece.split(_END):
        if event.startswith(_DATA) and not event.startswith(_DONE, len(_DATA)):
            found += _of_chunk(decoded(event[len(_DATA) :]))
    return found


def read_joined(piece: bytes) -> list[Happening]:
    """Read events as `read_events` does, with neighbouring pieces of one text as one piece of it."""
    found = list[Happening]()
    for happening in read_events(piece):
        last = found[-1] if found else None
        joined = None if last is None else _joined(last, happening)
        if joined is None:
            found.append(happening)
        else:
            found[-1] = joined
    return found


def _joined(one: Happening, other: Happening) -> Happening | None:
    """Return two pieces as one; None where they belong to different texts."""
    match one, other:
        case Said(), Said():
            return Said(one.text + other.text, (*one.logprobs, *other.logprobs))
        case Refused(), Refused():
            return Refused(one.text + other.text)
        case Thought(), Thought():
            return Thought(one.text + other.text)
        case Called(place=place), Called(place=same, name="") if place == same:
            return one._replace(arguments=one.arguments + other.arguments)
    return None


def read_whole(text: bytes) -> list[Happening]:
    """Return what happens in a whole answer; raises NotAnAnswer."""
    answer = decoded(text)
    choices = answer.get("choices")
    if type(choices) is not list or not choices or type(choices[0]) is not dict:
        raise NotAnAnswer
    choice = choices[0]
    message = choice.get("message")
    if type(message) is not dict:
        raise NotAnAnswer
    calls = message.get("tool_calls")
    if type(calls) is list:
        message = {**message, "tool_calls": [{**call, "index": place} for place, call in enumerate(calls)]}
    told = (*_of_usage(answer), *_of_moderation(answer))
    return [*_of_delta(message, choice.get("logprobs")), *_of_end(choice), *told]


def _of_chunk(chunk: Json) -> Iterator[Happening]:
    choices = chunk.get("choices")
    for choice in choices if type(choices) is list else ():
        # Nothing asks for a second choice.
        if type(choice) is dict and choice.get("index", 0) == 0:
            delta = choice.get("delta")
            if type(delta) is dict:
                yield from _of_delta(delta, choice.get("logprobs"))
            yield from _of_end(choice)
    yield from _of_usage(chunk)
    yield from _of_moderation(chunk)


def _of_delta(delta: Json, logprobs: Any) -> Iterator[Happening]:
    thought = next((delta[name] for name in _THOUGHTS if type(delta.get(name)) is str), "")
    if thought:
        yield Thought(thought)
    if type(delta.get("content")) is str and delta["content"]:
        yield Said(delta["content"], _logprobs(logprobs))
    if type(delta.get("refusal")) is str and delta["refusal"]:
        yield Refused(delta["refusal"])
    calls = delta.get("tool_calls")
    for call in calls if type(calls) is list else ():
        function = call.get("function") if type(call) is dict else None
        if type(function) is dict and type(call.get("index")) is int:
            yield Called(call["index"], *(_text(value) for value in (call.get("id"), *_named(function))))


def _named(function: Json) -> tuple[Any, Any]:
    return function.get("name"), function.get("arguments")


def _text(value: Any) -> str:
    return value if type(value) is str else ""


def _logprobs(logprobs: Any) -> tuple[Json, ...]:
    """Return the probabilities of tokens as a response tells them."""
    content = logprobs.get("content") if type(logprobs) is dict else None
    return tuple(
        {**_logprob(entry), "top_logprobs": [*map(_logprob, _objects(entry.get("top_logprobs")))]}
        for entry in _objects(content)
    )


def _objects(entries: Any) -> list[Json]:
    """Return the objects in a list; none where it is no list."""
    return [entry for entry in entries if type(entry) is dict] if type(entries) is list else []


def _logprob(entry: Json) -> Json:
    raw = entry.get("bytes")
    known = raw if type(raw) is list else []
    return {"token": _text(entry.get("token")), "logprob": entry.get("logprob"), "bytes": known}


def _of_end(choice: Json) -> Iterator[Happening]:
    if type(choice.get("finish_reason")) is str:
        yield Stopped(choice["finish_reason"], next(filter(None, (_text(choice.get(name)) for name in _STOPPED)), ""))


def _of_moderation(answer: Json) -> Iterator[Happening]:
    if type(answer.get("moderation")) is dict:
        yield Moderated(answer["moderation"])


def _of_usage(answer: Json) -> Iterator[Happening]:
    usage = answer.get("usage")
    if type(usage) is dict:
        prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        read, made = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
        yield Spent(
            {
                "input_tokens": prompt,
                "input_tokens_details": {
                    "cached_tokens": _count(read, "cached_tokens"),
                    "cache_write_tokens": _count(read, "cache_write_tokens"),
                },
                "output_tokens": completion,
                "output_tokens_details": {"reasoning_tokens": _count(made, "reasoning_tokens")},
                "total_tokens": _count(usage, "total_tokens") or prompt + completion,
            }
        )


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if type(usage) is dict else None
    return value if type(value) is int and value >= 0 else 0
