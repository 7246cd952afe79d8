"""`POST /v1/chat/completions`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, type_of_record
from server.api.chat.body import CHAT, ChatBody
from server.api.chat.cost import COSTED_CHAT
from server.api.chat.files import ChatFiles
from server.api.chat.recording import RecordingChat
from server.api.chat.store import Chat, Chats, new_answer_id
from server.api.models.asked import Asked, Parsers
from server.api.models.asking import Asking
from server.api.models.chosen import ChosenChat
from server.http.api_route import ApiRoute, AskingRoute
from server.inference.provider import ChatModel, ChatRequest, Task
from server.json_input.strict import Json
from server.storage.records.guarded import Creation

_PARSERS: Final = Parsers(CHAT, COSTED_CHAT)


class ChatCompletions:
    """Hands a chat to the provider of its model, once the policy lets the caller read that model.

    A chat that is to be stored goes to `chats` with its answer, if the policy lets the caller create that too. It may
    name `files` that the caller may read.
    """

    def __init__(self, asking: Asking, chats: Chats, files: ChatFiles) -> None:
        self._asking = asking
        self._chats = chats
        self._files = files

    def routes(self) -> list[ApiRoute]:
        """Return the route that makes chat completions."""
        return [
            AskingRoute(
                "/v1/chat/completions",
                self.create,
                asks=[(Action.READ, "model")],
                may_ask=[
                    (Action.CREATE, type_of_record("chat_completions")),
                    (Action.READ, type_of_record("openai_files")),
                    (Action.READ, "shield"),
                ],
                methods=["POST"],
                name="chat.completions.create",
            )
        ]

    async def create(self, request: Request) -> Response:
        """Answer with one completion, whole or streamed."""
        asked = await self._asking.read(request, _PARSERS, Task.CHAT, attach=self._files.attached)
        model, sent = await self._recorded(asked)
        return await self._asking.answer(request, model, sent, streamed=asked.body.stream)

    async def _recorded(self, asked: Asked[ChatBody]) -> tuple[ChatModel, ChatRequest]:
        """Return the model and the request to it; what they come to is stored where the body says so."""
        stored = asked.body.stored
        if stored is None:
            return asked.answering, asked.request
        # Nothing is spent on an answer that may not be stored.
        answer_id = new_answer_id()
        creating = await self._chats.records.permit_create(asked.gate, made=[answer_id])
        kept = Chat(answer_id, asked.model.name, stored.messages, stored.metadata)
        write = partial(self._write, creating, kept, asked.chosen)
        recording = RecordingChat(asked.answering, self._chats.queue, write, len(kept.messages))
        # The id is ours: a provider's may not be the only one, and under an id that is chosen nothing is stored.
        return recording, replace(asked.request, answer_id=answer_id)

    async def _write(self, creating: Creation, chat: Chat, chosen: ChosenChat | None, answer: Json) -> None:
        """Store a chat under the name of the model that has answered."""
        if chosen is not None and chosen.answering is not None:
            chat = replace(chat, model=chosen.answering.name)
        await self._chats.write(creating, chat, answer)
