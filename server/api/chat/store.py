"""Stored chats: the answer of a model, and apart from it the messages of the request."""

from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex

from server.storage.records.body import Body, encoded
from server.storage.records.guarded import Creation, GuardedStore
from server.storage.records.parts import RecordParts
from server.storage.records.record import Draft, Json, Record
from server.storage.write_queue import WriteQueue

_MESSAGES = 1
"""The key of the messages among the parts of a stored answer."""

_ANSWER = b'{"answer":'
_METADATA = b',"metadata":{'


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat that is to be stored once it is answered, by the canonical `model`, under the id `answer_id`.

    `messages` are in their stored form.
    """

    answer_id: str
    model: str
    messages: bytes
    metadata: dict[str, str]


def new_answer_id() -> str:
    """Return an id that no other answer has, and that cannot be guessed."""
    return f"chatcmpl-{token_hex(24)}"


_OURS = ("metadata", "input_messages")
"""Members that a stored answer is shown with, whatever its provider says."""


class Chats:
    """Stores answers in `records`; `queue` holds those that wait to be written."""

    def __init__(self, records: GuardedStore, messages: RecordParts, queue: WriteQueue) -> None:
        self.records = records
        self.queue = queue
        self._messages = messages

    async def write(self, permit: Creation, chat: Chat, answer: Json) -> None:
        """Store the chat with its answer, whole or not at all; raises AlreadyThere for an id that exists, and
        StorageExceeded.
        """
        answer = {name: value for name, value in answer.items() if name not in _OURS}
        body = {"answer": {**answer, "id": chat.answer_id, "model": chat.model}, "metadata": chat.metadata}
        await self.records.create(
            permit,
            Draft(chat.answer_id, body, facet=chat.model),
            [self._messages.adding(chat.answer_id, _MESSAGES, Body(chat.messages), permit.owner)],
        )

    async def messages(self, record: Record) -> bytes | None:
        """Return the messages of the request that an answer belongs to, as they are stored; None if they are gone."""
        part = await self._messages.get(record, _MESSAGES)
        return None if part is None else part.text


def shown_answer(body: Body) -> bytes:
    """Return a stored answer as clients know it, with its metadata as the last member.

    The text of a body has two members in this order: `answer`, and `metadata`, whose values are texts.
    """
    text = body.text
    end = _end_of_answer(text)
    comma = b"" if text[end - 2 : end] == b"{}" else b","
    return text[len(_ANSWER) : end - 1] + comma + text[end + 1 :]


def with_metadata(body: Body, metadata: dict[str, str]) -> Body:
    """Return the body of a stored answer with other metadata."""
    kept, labels = body.text[: _end_of_answer(body.text)], encoded(metadata)
    return Body(b'%b,"metadata":%b}' % (kept, labels.encode()), labels=labels)


def _end_of_answer(text: bytes) -> int:
    """Return the place behind the answer.

    Inside a text of JSON a quote has a backslash before it, so that what is looked for is a member, and the last one.
    """
    end = text.rfind(_METADATA)
    if not text.startswith(_ANSWER) or end < 0:
        raise ValueError("the body is no stored answer")
    return end
