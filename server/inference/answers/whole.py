"""Answers that come in one piece: shaped as clients know them, or told as a stream where one was asked for."""

from __future__ import annotations

from collections.abc import Iterator

from server.inference.answers.model_name import ModelNaming
from server.inference.answers.plain import PLAIN_MOST, NotAnAnswer, decoded, encoded
from server.inference.answers.shapes import AnswerShape
from server.inference.answers.usage import believed
from server.inference.provider import DONE, Counted, Pieces
from server.json_input.strict import Json


def shaped_answer(text: bytes, model_id: str, answer_id: str | None, shape: AnswerShape | None = None) -> Pieces:
    """Return an answer under our names, a chat's unless `shape` says otherwise; raises NotAnAnswer and ToldError.

    Of a text of more than `PLAIN_MOST` bytes only the outermost members are read.
    """
    if len(text) > PLAIN_MOST:
        return ModelNaming(model_id, answer_id).apply(text)
    shape = AnswerShape(model_id, answer_id) if shape is None else shape
    whole = shape.whole(decoded(text))
    return Counted([encoded(whole, text)], believed(whole.get("usage")))


def streamed_answer(
    text: bytes, model_id: str, answer_id: str | None, shape: AnswerShape | None = None, *, with_usage: bool
) -> list[bytes]:
    """Return the events of a stream that comes to the whole answer `text`; raises NotAnAnswer and ToldError."""
    if len(text) > PLAIN_MOST:
        raise NotAnAnswer
    shape = AnswerShape(model_id, answer_id) if shape is None else shape
    whole = shape.whole(decoded(text))
    return [*(b"data: %b\n\n" % encoded(chunk) for chunk in _chunks(whole, shape, with_usage=with_usage)), DONE]


def _chunks(whole: Json, shape: AnswerShape, *, with_usage: bool) -> Iterator[Json]:
    head = {name: value for name, value in whole.items() if name not in ("choices", "usage")}
    head["object"] = shape.chunk_kind
    usage = {"usage": None} if with_usage else {}
    for choice in whole["choices"]:
        for part in shape.parted(choice):
            yield {**head, "choices": [part], **usage}
    if with_usage:
        yield {**head, "choices": [], "usage": whole.get("usage")}
