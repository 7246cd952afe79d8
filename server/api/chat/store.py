"""Stored chats: the answer of a model, and apart from it the messages of the request."""

from __future__ import annotations

from dataclasses import dataclass
from json import loads
from secrets import token_hex
from typing import Any

from server.storage.records.guarded import Creation, GuardedStore
from server.storage.records.parts import RecordParts
from server.storage.records.record import Draft, Json, Record
from server.storage.write_queue import WriteQueue

_MESSAGES = 1
"""The key of the messages among the parts of a stored answer."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat that is to be stored once it is answered, by the canonical `model`, under the id `answer_id`.

    `messages` is a list of objects, as JSON.
    """

    answer_id: str
    model: str
    messages: bytes
    metadata: dict[str, str]


def new_answer_id() -> str:
    """Return an id that no other answer has, and that cannot be guessed."""
    return f"chatcmpl-{token_hex(24)}"


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
        answer = {name: value for name, value in answer.items() if name != "metadata"}
        body = {"answer": {**answer, "id": chat.answer_id, "model": chat.model}, "metadata": chat.metadata}
        messages = {"messages": loads(chat.messages)}
        await self.records.create(
            permit,
            Draft(chat.answer_id, body, facet=chat.model),
            [self._messages.adding(chat.answer_id, _MESSAGES, messages, permit.owner)],
        )

    async def messages(self, record: Record) -> list[dict[str, Any]]:
        """Return the messages of the request that an answer belongs to."""
        part = await self._messages.get(record, _MESSAGES)
        return [] if part is None else part["messages"]
