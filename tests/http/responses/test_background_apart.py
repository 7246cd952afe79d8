"""Responses in the background whose conversations are in another database: both are whole, or neither."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from server.api.conversations.items import Items
from server.api.responses.background import later
from server.api.responses.store import Filling
from server.storage.database.database import DatabaseUnavailable, InDoubt
from server.storage.records.guarded import GuardedStore
from tests.support.files_server import wait_until
from tests.support.patience import PATIENCE
from tests.support.responses_server import RESPONSES, Responding, responding

BEFORE = ("user", "before")
FILLED = [("user", "hi"), ("assistant", "echo: hi")]


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("apart"), apart=True) as running:
        yield running


def begun(place: Responding, conversation: str, *, stream: bool) -> str:
    """The id of a new response in the background."""
    more = {"background": True, "conversation": conversation}
    if stream:
        with place.opened("POST", RESPONSES, {"model": "small", "input": "hi", "stream": True, **more}) as events:
            return str(next(events)["response"]["id"])
    return str(place.made("hi", **more)["id"])


@pytest.mark.parametrize("stream", [False, True])
def test_its_conversation_is_filled(place: Responding, stream: bool) -> None:
    conversation = place.conversation()
    identity = begun(place, conversation, stream=stream)
    assert place.over(identity)["status"] == "completed"
    assert place.said_in(conversation) == FILLED


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize(("method", "end"), [("POST", "/cancel"), ("DELETE", "")])
def test_one_that_is_ended_while_its_conversation_is_filled_leaves_it_as_it_was(
    place: Responding, monkeypatch: pytest.MonkeyPatch, stream: bool, is_first: bool, method: str, end: str
) -> None:
    fill, statuses, is_over = later.fill_alone, list[int](), Event()

    async def filled(items: Any, filling: Filling) -> None:
        digits = filling.items.ids[0].partition("_")[2][:48]
        if is_first:
            statuses.append(await asyncio.to_thread(ended, digits))
        await fill(items, filling)
        if not is_first:
            assert await asyncio.to_thread(place.said_in, conversation) == [BEFORE, *FILLED]
            statuses.append(await asyncio.to_thread(ended, digits))
        is_over.set()

    def ended(digits: str) -> int:
        return place.ask(method, f"{RESPONSES}/resp_{digits}{end}").status

    monkeypatch.setattr(later, "fill_alone", filled)
    conversation = place.conversation(items=[{"role": "user", "content": "before"}])
    begun(place, conversation, stream=stream)
    assert is_over.wait(PATIENCE)
    assert statuses == [200]
    wait_until(lambda: place.said_in(conversation) == [BEFORE])


@pytest.mark.parametrize(("fault", "is_stored"), [(DatabaseUnavailable, False), (InDoubt, False), (InDoubt, True)])
def test_one_whose_end_may_not_be_stored_agrees_with_its_conversation(
    place: Responding, monkeypatch: pytest.MonkeyPatch, fault: type[Exception], is_stored: bool
) -> None:
    fill, write, filled = later.fill_alone, GuardedStore.write, list[bool]()

    async def filling(*given: Any) -> None:
        await fill(*given)
        filled.append(True)

    async def writing(store: GuardedStore, *given: Any) -> None:
        if not filled:
            await write(store, *given)
            return
        filled.clear()
        if is_stored:
            await write(store, *given)
        raise fault("the test says so")

    monkeypatch.setattr(later, "fill_alone", filling)
    monkeypatch.setattr(GuardedStore, "write", writing)
    conversation = place.conversation()
    status = place.over(begun(place, conversation, stream=False))["status"]
    assert status == ("completed" if is_stored else "failed")
    wait_until(lambda: place.said_in(conversation) == (FILLED if status == "completed" else []))


def test_a_conversation_that_may_be_filled_is_taken_back(place: Responding, monkeypatch: pytest.MonkeyPatch) -> None:
    add = Items.fill

    async def filling(items: Items, *given: Any) -> None:
        await add(items, *given)
        raise InDoubt("the test says so")

    monkeypatch.setattr(Items, "fill", filling)
    conversation = place.conversation()
    assert place.over(begun(place, conversation, stream=False))["status"] == "failed"
    assert place.said_in(conversation) == []
    assert place.create("hi", conversation=conversation).status == 503
    assert place.said_in(conversation) == []
