"""What goes wrong under stored chats and prompts: databases, and the server's own death. Nothing is half there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from json import loads
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from server.storage import write_queue
from server.storage.database.database import DatabaseUnavailable
from server.storage.records import removal
from tests.support.callers import ALICE
from tests.support.chats_server import CHATS, PROMPTS, Chatting, chatting, config_of
from tests.support.databases import class_of, rows
from tests.support.failing_database import MOMENTS, FailingDatabase
from tests.support.files_process import files_server
from tests.support.patience import PATIENCE
from tests.support.serving import Answer
from tests.support.stream_client import events

Scenario = Callable[[Chatting, str, str], Answer]

SCENARIOS: dict[str, Scenario] = {
    "list": lambda kept, chat, _: kept.ask("GET", f"{CHATS}?after={chat}"),
    "get": lambda kept, chat, _: kept.ask("GET", f"{CHATS}/{chat}"),
    "messages": lambda kept, chat, _: kept.ask("GET", f"{CHATS}/{chat}/messages"),
    "update": lambda kept, chat, _: kept.ask("POST", f"{CHATS}/{chat}", ALICE, {"metadata": {"a": "b"}}),
    "delete": lambda kept, chat, _: kept.ask("DELETE", f"{CHATS}/{chat}"),
    "prompts": lambda kept, _, prompt: kept.ask("GET", f"{PROMPTS}?after={prompt}"),
    "prompt": lambda kept, _, prompt: kept.ask("GET", f"{PROMPTS}/{prompt}?version=2"),
    "versions": lambda kept, _, prompt: kept.ask("GET", f"{PROMPTS}/{prompt}/versions"),
    "new prompt": lambda kept, *_: kept.ask("POST", PROMPTS, ALICE, {"prompt": "new"}),
    "new version": lambda kept, _, prompt: kept.ask("PUT", f"{PROMPTS}/{prompt}", ALICE, {"prompt": "x", "version": 2}),
    "default": lambda kept, _, prompt: kept.ask(
        "PUT", f"{PROMPTS}/{prompt}/set-default-version", ALICE, {"version": 2}
    ),
    "no prompt": lambda kept, _, prompt: kept.ask("DELETE", f"{PROMPTS}/{prompt}"),
}


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Chatting]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_queue, "WAIT_SECONDS", 20.0)
        patch.setattr(write_queue, "_FIRST_PAUSE", 0.001)
        patch.setattr(removal, "SWEEP_SECONDS", 3_600)  # nothing but the requests of a test uses the database
        with chatting(opa_binary, tmp_path_factory.mktemp("f"), postgres) as running:
            yield running


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_database_that_fails_at_any_call_leaves_nothing_half_done(
    kept: Chatting, monkeypatch: pytest.MonkeyPatch, scenario: str, moment: str
) -> None:
    statuses = []
    for number in range(1, 20):
        failing = FailingDatabase(number, moment, kept.chats, kept.prompts)
        chat, prompt = kept.stored(), kept.prompt()
        kept.ask("PUT", f"{PROMPTS}/{prompt}", ALICE, {"prompt": "two", "version": 1, "set_as_default": False})
        with monkeypatch.context() as patch:
            failing.put_in(patch, kept.database)
            answer = SCENARIOS[scenario](kept, chat, prompt)
        statuses.append(answer.status)
        if answer.status != 200:
            assert (answer.status, answer.error["code"]) == (503, "storage_unavailable")
        check_whole(kept)
        if failing.calls < number:
            break
    assert statuses == [503] * (len(statuses) - 1) + [200]
    assert len(statuses) > 1


def check_whole(kept: Chatting) -> None:
    """Every chat has its messages, every prompt its versions, and nothing else is there."""
    parts = {row[0] for row in kept.rows(f"{kept.chats}_messages")}
    assert parts == {f"{row[0]}/000000001" for row in kept.rows(kept.chats)}
    wanted = set()
    for identity, body in rows(kept.database, f"SELECT id, body FROM {kept.prompts}"):  # noqa: S608 - the test's own
        wanted |= {f"{identity}/{version:09}" for version in range(1, loads(body)["latest"] + 1)}
    assert {row[0] for row in kept.rows(f"{kept.prompts}_versions")} == wanted


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_answer_is_stored_once_whatever_call_of_the_database_fails(
    kept: Chatting, monkeypatch: pytest.MonkeyPatch, moment: str, stream: bool
) -> None:
    for number in range(1, 20):
        failing = FailingDatabase(number, moment, kept.chats, kept.prompts)
        with monkeypatch.context() as patch:
            failing.put_in(patch, kept.database)
            answer = kept.chat(stream=stream, text=f"{number}")
        assert answer.status == 200
        identity = events(answer.body)[0]["id"] if stream else answer.json["id"]
        assert kept.ask("GET", f"{CHATS}/{identity}/messages").json["data"][0]["content"] == f"{number}"
        check_whole(kept)
        if failing.calls < number:
            break
    assert number > 3


def test_a_database_that_is_away_holds_up_no_answer_and_loses_none(
    kept: Chatting, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = class_of(kept.database)
    tried = threading.Event()

    async def away(_self: Any, *_steps: Any) -> None:
        tried.set()
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(write_queue, "WAIT_SECONDS", 0.05)
        patch.setattr(kind, "write", away)
        made = [kept.stored() for _ in range(3)]
        assert tried.wait(PATIENCE)
        assert kept.ask("GET", f"{CHATS}/{made[0]}").status == 404
        assert b"\nostiary_stored_chats_waiting 3.0\n" in kept.ask("GET", "/metrics").body
    deadline = time.monotonic() + PATIENCE
    while any(kept.ask("GET", f"{CHATS}/{identity}").status != 200 for identity in made):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert b"\nostiary_stored_chats_waiting 0.0\n" in kept.ask("GET", "/metrics").body
    check_whole(kept)


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_has_the_end_of_an_answer_finds_it_after_the_server_was_killed(
    tmp_path: Path, postgres: str | None, stream: bool
) -> None:
    chats, prompts = f"chats_{token_hex(6)}", f"kv_p{token_hex(6)}"
    database = postgres or str(tmp_path / "records.db")
    config = config_of(database, chats, prompts)
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "store": True, "stream": stream}
    answered: list[str] = []
    enough = threading.Event()
    with files_server(config) as (address, process):

        def ask() -> None:
            while True:
                try:
                    answer = address.post(CHATS, body)
                    if stream:
                        assert answer.body.endswith(b"data: [DONE]\n\n")
                    answered.append(events(answer.body)[0]["id"] if stream else answer.json["id"])
                except (OSError, ValueError, IndexError, AssertionError, KeyError):
                    return
                if len(answered) > 60:
                    enough.set()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert enough.wait(60)
        process.kill()
        for thread in threads:
            thread.join(PATIENCE)
    with files_server(config):
        found = {row[0] for row in rows(database, f"SELECT id FROM {chats}")}  # noqa: S608 - the test's own
        parts = {row[0] for row in rows(database, f"SELECT parent FROM {chats}_messages")}  # noqa: S608 - likewise
    assert set(answered) <= found
    assert parts == found
