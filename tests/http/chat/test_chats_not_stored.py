"""Chats that are not stored: broken answers, clients that leave, full queues, and what is too large or malformed."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from json import dumps
from pathlib import Path
from typing import Any

import pytest

from server.api.chat import recording
from server.api.chat.body import MOST_STORED
from server.storage import write_queue
from server.storage.records.guarded import GuardedStore
from tests.support.callers import ALICE
from tests.support.chats_server import CHATS, Chatting, chatting
from tests.support.failing_provider import Upstream, upstream
from tests.support.patience import PATIENCE
from tests.support.stream_client import events


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, far: Upstream
) -> Iterator[Chatting]:
    postgres = None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with chatting(opa_binary, tmp_path_factory.mktemp("chats"), postgres, upstream=far.url) as running:
        yield running


@pytest.fixture(autouse=True)
def forgotten(far: Upstream) -> None:
    far.forget()


def stored_ids(kept: Chatting) -> set[str]:
    return {row[0] for row in kept.rows(kept.chats)}


@pytest.mark.parametrize("model", ["dies", "stops", "garbage", "errs"])
def test_a_stream_that_breaks_off_is_not_stored(kept: Chatting, model: str) -> None:
    before = stored_ids(kept)
    answer = kept.chat(model=f"far/{model}", stream=True)
    assert events(answer.body)[-1].keys() == {"error"}
    assert stored_ids(kept) == before


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["status-500", "nan", "no-choices"])
def test_what_is_no_answer_is_not_stored(kept: Chatting, model: str, stream: bool) -> None:
    before = stored_ids(kept)
    assert kept.chat(model=f"far/{model}", stream=stream).status == 502
    assert stored_ids(kept) == before


@pytest.mark.parametrize(("model", "stream"), [("silent", True), ("sleepy", True), ("sleepy", False)])
def test_what_is_not_waited_for_is_not_stored(kept: Chatting, far: Upstream, model: str, stream: bool) -> None:
    before = stored_ids(kept)
    body = {"model": f"far/{model}", "messages": [{"role": "user", "content": "hi"}], "store": True, "stream": stream}
    raw = dumps(body).encode()
    head = [f"POST {CHATS} HTTP/1.1", "Host: a", ALICE, "Content-Type: application/json", f"Content-Length: {len(raw)}"]
    address = (kept.house.address.host, kept.house.address.port)
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + raw)
        assert far.arrived.wait(PATIENCE)
        if model == "silent":
            received = b""
            while b"first" not in received:
                received += connection.recv(65536)
    assert far.left.wait(PATIENCE)
    kept.stored()  # one after the other: what comes later is written later
    assert len(stored_ids(kept) - before) == 1


def test_more_left_streams_than_there_are_places_take_none_away(
    kept: Chatting, far: Upstream, opa_binary: Path, tmp_path: Path
) -> None:
    with chatting(opa_binary, tmp_path, upstream=far.url, queue=1) as narrow:
        for model in ("dies", "status-500", "stops", "nan", "errs", "no-choices"):
            for stream in (False, True):
                narrow.chat(model=f"far/{model}", stream=stream)
        for _ in range(3):
            assert narrow.ask("GET", f"{CHATS}/{narrow.stored(stream=False)}").status == 200


def test_chats_whose_provider_talks_keep_no_other_chat_from_a_place(
    far: Upstream, opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "ROOM_SECONDS", 0.1)
    with chatting(opa_binary, tmp_path, upstream=far.url, queue=1) as narrow, ExitStack() as talking:
        body = {"model": "far/gated", "messages": [{"role": "user", "content": "hi"}], "store": True, "stream": True}
        raw = dumps(body).encode()
        head = [f"POST {CHATS} HTTP/1.1", "Host: a", ALICE, "Content-Type: application/json"]
        address = (narrow.house.address.host, narrow.house.address.port)
        connections = [talking.enter_context(socket.create_connection(address, timeout=PATIENCE)) for _ in range(5)]
        received = dict.fromkeys(connections, b"")
        for connection in connections:
            connection.sendall("\r\n".join([*head, f"Content-Length: {len(raw)}", "", ""]).encode() + raw)
            while b"first" not in received[connection]:
                received[connection] += connection.recv(65536)
        assert narrow.chat(stream=True).status == 200
        assert narrow.ask("GET", f"{CHATS}/{narrow.stored()}").status == 200
        far.go_on.set()
        for connection in connections:
            while b"[DONE]" not in received[connection]:
                received[connection] += connection.recv(65536)
        assert len(stored_ids(narrow)) == 7


def test_without_room_nothing_is_spent(
    far: Upstream, opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "ROOM_SECONDS", 0.1)
    monkeypatch.setattr(write_queue, "WAIT_SECONDS", 0.05)
    go_on = threading.Event()
    create = GuardedStore.create

    async def slow(*given: Any) -> Any:
        await asyncio.to_thread(go_on.wait, PATIENCE)
        return await create(*given)

    def chats() -> int:
        # A server that looks whether the provider is well again asks for its models.
        return sum(path.endswith("/chat/completions") for path, *_ in far.asked)

    with chatting(opa_binary, tmp_path, upstream=far.url, queue=1) as narrow:
        monkeypatch.setattr(GuardedStore, "create", slow)
        assert narrow.chat(model="far/m").status == 200
        asked = chats()
        for stream in (False, True):
            answer = narrow.chat(model="far/m", stream=stream)
            assert (answer.status, answer.error["code"]) == (503, "storage_unavailable")
        assert chats() == asked
        monkeypatch.setattr(write_queue, "ROOM_SECONDS", 20.0)
        monkeypatch.setattr(write_queue, "WAIT_SECONDS", 20.0)
        go_on.set()
        assert narrow.ask("GET", f"{CHATS}/{narrow.stored()}").status == 200


def test_a_body_that_is_too_large_to_be_stored_is_refused(kept: Chatting, far: Upstream) -> None:
    answer = kept.chat(model="far/m", text="x" * MOST_STORED)
    assert answer.status == 413
    assert str(MOST_STORED) in answer.error["message"]
    assert far.asked == []
    assert kept.chat(model="far/m", text="x" * MOST_STORED, store=False).status == 200


@pytest.mark.parametrize("text", ["x" * (MOST_STORED - 200), "ü" * (MOST_STORED // 2 - 200), "\0" * 1000, '"\\' * 1000])
def test_every_message_that_may_be_stored_comes_back(kept: Chatting, text: str) -> None:
    body = {"model": "far/m", "messages": [{"role": "user", "content": text}], "store": True}
    answer = kept.ask("POST", CHATS, ALICE, dumps(body, ensure_ascii=False).encode())
    assert answer.status == 200, answer.body[:200]
    shown = kept.ask("GET", f"{CHATS}/{answer.json['id']}/messages").json["data"]
    assert [message["content"] for message in shown] == [text]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_too_large_goes_to_its_caller_alone(
    kept: Chatting, stream: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recording, "MOST_ANSWERED", 2_000)
    before = stored_ids(kept)
    answer = kept.chat(text="hello " * 400, stream=stream)
    assert answer.status == 200
    identity = (events(answer.body)[0] if stream else answer.json)["id"]
    assert kept.ask("GET", f"{CHATS}/{identity}").status == 404
    assert stored_ids(kept) == before
    assert f"the answer {identity} of echo/small-1 is not stored" in caplog.text
    assert "hello" not in caplog.text


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"metadata": 5}, "metadata"),
        ({"metadata": {"a": 5}}, "metadata.a"),
        ({"metadata": {"a": "\0"}}, "metadata.a"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"store": 1}, "store"),
    ],
)
def test_what_can_not_be_stored_is_refused_with_its_place(
    kept: Chatting, far: Upstream, more: dict[str, Any], param: str
) -> None:
    answer = kept.chat(model="far/m", **more)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert far.asked == []


def test_metadata_of_what_is_not_stored_is_the_providers_business(kept: Chatting, far: Upstream) -> None:
    assert kept.chat(model="far/m", store=False, metadata=5).status == 200
    assert far.body["metadata"] == 5
