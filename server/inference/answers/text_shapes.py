"""The shape of text completions, whole and in chunks, whatever variant of it a provider sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from server.inference.answers.plain import NotAnAnswer
from server.inference.answers.shapes import AnswerShape
from server.inference.provider import ChatRequest, Task
from server.json_input.strict import Json


def shape_of(request: ChatRequest, dropped: frozenset[str] = frozenset()) -> AnswerShape:
    """Return the shape of the answer to a request, without the members that are `dropped`."""
    if request.task is Task.TEXT:
        count = 1 if request.wanted is None else request.wanted.count
        shape: AnswerShape = TextShape(request.model_id, request.answer_id, count)
    else:
        shape = AnswerShape(request.model_id, request.answer_id)
    shape.dropped = dropped
    return shape


class TextShape(AnswerShape):
    """Gives the parts of one answer with `count` choices what `AnswerShape` gives those of a chat."""

    whole_kind = "text_completion"
    chunk_kind = "text_completion"
    id_prefix = "cmpl-"
    differs_in_texts = False

    def __init__(self, model_id: str, answer_id: str | None = None, count: int = 1) -> None:
        super().__init__(model_id, answer_id)
        self._count = count

    def whole(self, document: Json) -> Json:
        """Return the completion of a document, which is changed; raises NotAnAnswer and ToldError.

        Its choices are those of the prompts: each index once, in order; by their places where none has an index.
        """
        super().whole(document)
        choices = document["choices"]
        if len(choices) != self._count:
            raise NotAnAnswer(f"answered with {len(choices)} choices in place of {self._count}")
        indices = [choice.get("index") for choice in choices]
        if {*indices} == {None}:
            indices = [*range(self._count)]
        if not all(type(index) is int for index in indices) or {*indices} != {*range(self._count)}:
            raise NotAnAnswer("answered with choices whose indices are not those of the prompts")
        document["choices"] = sorted(
            ({**choice, "index": index} for index, choice in zip(indices, choices, strict=True)),
            key=lambda choice: int(choice["index"]),
        )
        return document

    def parted(self, choice: Any) -> Iterator[Json]:
        """Yield a choice of a whole answer, which is its only chunk."""
        yield choice

    def _whole_choice(self, place: int, choice: Any) -> Any:
        return _shaped(choice)

    def _choice(self, place: int, choice: Any) -> Json:
        shaped = _shaped(choice)
        index = shaped.get("index")
        if index is None and self._count == 1:
            index = shaped["index"] = 0
        if type(index) is not int or not 0 <= index < self._count:
            raise NotAnAnswer
        return shaped


def _shaped(choice: Any) -> Json:
    if type(choice) is not dict:
        raise NotAnAnswer
    if choice.get("text") is None:
        choice["text"] = ""
    if type(choice["text"]) is not str:
        raise NotAnAnswer
    choice["finish_reason"] = choice.get("finish_reason") or None
    if type(choice.get("logprobs")) is not dict:
        choice["logprobs"] = None
    return choice
