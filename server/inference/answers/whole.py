"""Answers that come in one piece: shaped as clients know them, or told as a stream where one was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from server.inference.answers.model_name import ModelNaming
from server.inference.answers.plain import PLAIN_MOST, NotAnAnswer, decoded, encoded
from server.inference.answers.shapes import AnswerShape
from server.inference.provider import DONE, Pieces
from server.json_input.strict import Json

_OF_CHUNKS: Final = "chat.completion.chunk"


def shaped_answer(text: bytes, model_id: str, answer_id: str | None) -> Pieces:
    """Return a chat completion under our names; raises NotAnAnswer and ToldError.

    Of a text of more than `PLAIN_MOST` bytes only the outermost members are read.
    """
    if len(text) > PLAIN_MOST:
        return ModelNaming(model_id, answer_id).apply(text)
    return [encoded(AnswerShape(model_id, answer_id).whole(decoded(text)), text)]


def streamed_answer(text: bytes, model_id: str, answer_id: str | None, *, with_usage: bool) -> list[bytes]:
    """Return the events of a stream that comes to the chat completion `text`; raises NotAnAnswer and ToldError."""
    if len(text) > PLAIN_MOST:
        raise NotAnAnswer
    whole = AnswerShape(model_id, answer_id).whole(decoded(text))
    return [*(b"data: %b\n\n" % encoded(chunk) for chunk in _chunks(whole, with_usage=with_usage)), DONE]


def _chunks(whole: Json, *, with_usage: bool) -> Iterator[Json]:
    head = {name: value for name, value in whole.items() if name not in ("choices", "usage")} | {"object": _OF_CHUNKS}
    usage = {"usage": None} if with_usage else {}
    for choice in whole["choices"]:
        if type(choice) is not dict or type(choice.get("message")) is not dict:
            raise NotAnAnswer
        delta, reason = choice.pop("message"), choice.pop("finish_reason", None)
        calls = delta.get("tool_calls")
        if type(calls) is list:
            delta["tool_calls"] = [{**call, "index": place} for place, call in enumerate(calls)]
        yield {**head, "choices": [{**choice, "delta": delta, "finish_reason": None}], **usage}
        yield {**head, "choices": [{"index": choice["index"], "delta": {}, "finish_reason": reason}], **usage}
    if with_usage:
        yield {**head, "choices": [], "usage": whole.get("usage")}
