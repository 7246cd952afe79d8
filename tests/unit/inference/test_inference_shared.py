"""Chats with one provider: a caller holds no more of them than its share, and gives each back."""

from __future__ import annotations

import asyncio

import pytest

from server.fairness.shares import FairShares, NoRoom, Share
from server.inference.provider import ChatRequest
from server.inference.providers.echo import Echo
from server.inference.shared import CHATS, SharedChat
from server.json_input.reader import Reader

CHAT = ChatRequest("m", b'{"model":"m","messages":[{"role":"user","content":"a b c"}]}')


def test_a_stream_holds_a_turn_until_it_is_closed() -> None:
    async def run() -> None:
        chat = SharedChat(Echo(Reader()))
        chat.shares = FairShares(Share("chats", 2, 1, 0, 0, seconds=1.0))
        stream = await chat.stream(CHAT)
        with pytest.raises(NoRoom) as refused:
            await chat.complete(CHAT)
        assert refused.value.of_caller
        assert [piece async for piece in stream][-1].endswith(b"data: [DONE]\n\n")
        await stream.aclose()
        await stream.aclose()
        assert await chat.complete(CHAT)
        with pytest.raises(Exception):  # noqa: B017 - whatever the provider raises
            await chat.stream(ChatRequest("m", b"no JSON"))
        assert (chat.shares.used, len(chat.shares._holders)) == (0, 0)

    asyncio.run(asyncio.wait_for(run(), 30))


def test_one_caller_leaves_room_to_others_and_open_chats_are_no_burden() -> None:
    assert 64 <= CHATS.each <= CHATS.capacity // 2
