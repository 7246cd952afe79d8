"""Conversations with many items: how many there may be, and how they go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server.api.conversations import items
from server.authz.request_authorization import Gate
from server.storage.records import removal
from server.storage.records.record import Draft
from tests.support.conversations_server import Talking, said, talking


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def talk(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Talking]:
    postgres = None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with talking(opa_binary, tmp_path_factory.mktemp("large"), postgres) as running:
        yield running


def test_a_conversation_takes_no_more_items_than_it_may_have(talk: Talking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "MOST_KEPT", 25)
    conversation = talk.made(items=[said(f"{n}") for n in range(20)])
    added = talk.added(conversation, *["x"] * 4)
    refused = talk.post(f"/{conversation}/items", {"items": [said("a"), said("b")]})
    assert (refused.status, refused.error["code"], refused.error["param"]) == (400, "too_many_items", "items")
    assert refused.error["message"] == (
        "a conversation has at most 25 items; delete some, or begin another conversation"
    )
    talk.added(conversation, "the last one")
    assert talk.post(f"/{conversation}/items", {"items": [said("a")]}).status == 400
    assert talk.delete(f"/{conversation}/items/{added[0]}").status == 200
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(talk.post, f"/{conversation}/items", {"items": [said("a")]}) for _ in range(8)]
        assert sorted(each.result().status for each in sent) == [200] + [400] * 7
    assert talk.rows(f"SELECT count(*) FROM conversation_items WHERE parent = '{conversation}'") == [(25,)]  # noqa: S608 - the test's own


def test_no_item_is_added_to_a_conversation_that_is_marked_after_the_permit(
    talk: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation, drafts = talk.made(), items.Items._drafts
    mark = f"UPDATE openai_conversations SET expires_at = -9999999999 WHERE id = '{conversation}'"  # noqa: S608 - the test's own

    async def overtaken(self: items.Items, gate: Gate, *about: Any) -> list[Draft]:
        made = await drafts(self, gate, *about)
        await asyncio.to_thread(talk.rows, mark)
        return made

    with monkeypatch.context() as patch:
        patch.setattr(items.Items, "_drafts", overtaken)
        answer = talk.post(f"/{conversation}/items", {"items": [said("a")]})
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert talk.rows(f"SELECT 1 FROM conversation_items WHERE parent = '{conversation}'") == []  # noqa: S608 - as above


def test_a_large_conversation_is_gone_at_once_and_its_items_follow(
    talk: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "LARGEST_STEP", 5)
    monkeypatch.setattr(removal, "PAUSE_SECONDS", 0.1)
    conversation, other = talk.made(), talk.made()
    added = [talk.added(conversation, *["x"] * 20) for _ in range(5)]
    kept = talk.added(other, "stays")
    [newest] = added[-1][-1:]
    assert talk.delete(f"/{conversation}").status == 200
    assert talk.rows(f"SELECT count(*) FROM conversation_items WHERE parent = '{conversation}'") != [(0,)]  # noqa: S608 - as above
    for answer in (
        talk.get(f"/{conversation}"),
        talk.get(f"/{conversation}/items"),
        talk.get(f"/{conversation}/items/{newest}"),
        talk.post(f"/{conversation}", {"metadata": {}}),
        talk.post(f"/{conversation}/items", {"items": [said("a")]}),
        talk.delete(f"/{conversation}/items/{newest}"),
        talk.delete(f"/{conversation}"),
    ):
        assert (answer.status, answer.error["code"]) == (404, "not_found")
    referred = talk.post(f"/{other}/items", {"items": [{"type": "item_reference", "id": newest}]})
    unknown = talk.post(f"/{other}/items", {"items": [{"type": "item_reference", "id": "msg_" + "0" * 48}]})
    assert referred.status == unknown.status
    assert referred.error["message"] == unknown.error["message"].replace("msg_" + "0" * 48, newest)
    deadline = time.monotonic() + 60
    while talk.rows(f"SELECT 1 FROM openai_conversations WHERE id = '{conversation}'"):  # noqa: S608 - as above
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert talk.rows(f"SELECT 1 FROM conversation_items WHERE parent = '{conversation}'") == []  # noqa: S608 - as above
    assert [item["id"] for item in talk.get(f"/{other}/items").json["data"]] == kept
