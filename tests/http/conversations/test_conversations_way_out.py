"""Large items on their way out: pages bounded by bytes, an event loop that goes on, readers that do not read."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from server.api.conversations import items
from server.api.conversations.body import MOST_BYTES, MOST_VALUES
from server.fairness.outgoing import OUTGOING
from server.storage.records import permitted
from tests.support.callers import ALICE, BOB
from tests.support.conversations_server import CONVERSATIONS, Talking, said, talking
from tests.support.patience import PATIENCE
from tests.support.serving import request_of

MOST_STOPPED = 0.05
"""Seconds of its processor for which the event loop may serve no other request."""

BOUND = 10_000
READERS = 24


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def talk(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Talking]:
    postgres = None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with talking(opa_binary, tmp_path_factory.mktemp("out"), postgres) as running:
        yield running


class Watch:
    """The longest time that the server's event loop has worked without a pause.

    It counts the time of the loop's own thread, which other programs on the machine do not lengthen.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self.ended = False

    async def run(self) -> None:
        """Look again and again until it is ended."""
        while not self.ended:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.thread_time() - before)


@contextmanager
def watched(talk: Talking) -> Iterator[Watch]:
    watch = Watch()
    gc.collect()
    gc.disable()  # what the tests leave behind takes longer to look through than anything here
    running: Future[None] = asyncio.run_coroutine_threadsafe(watch.run(), talk.house.policy.loop)
    try:
        yield watch
    finally:
        gc.enable()
        watch.ended = True
        running.result(timeout=PATIENCE)


def item_of_an_older_server(talk: Talking, conversation: str) -> str:
    """The id of an item of very many values, as a server stored it that did not count them."""
    [made] = talk.added(conversation, said("x"))
    tools = ",".join(["[[]]"] * 147_000)
    body = f'{{"type":"mcp_list_tools","server_label":"x","tools":[{tools}]}}'
    talk.rows(f"UPDATE conversation_items SET body = '{body}' WHERE id = '{made}'")  # noqa: S608 - the test's own
    return made


def raw_get(talk: Talking, path: str) -> bytes:
    """The answer to a GET, which nothing here parses while the server works."""
    return talk.house.address.exchange(request_of("GET", CONVERSATIONS + path, ALICE), timeout=60)


@pytest.mark.alone
def test_nothing_that_is_stored_stops_the_event_loop(talk: Talking) -> None:
    conversation = talk.made()
    older = item_of_an_older_server(talk, conversation)
    many = {"type": "mcp_list_tools", "server_label": "x", "tools": [[[]]] * (MOST_VALUES // 2 - 10)}
    image = {"type": "input_image", "image_url": "u"}
    pictures = {"type": "message", "role": "user", "content": [image] * (MOST_BYTES // 100)}
    with watched(talk) as watch:
        ids = [talk.added(conversation, item)[0] for item in (many, said('\x01"é' * 60_000), pictures)]
        for identity in [older, *ids]:
            raw = raw_get(talk, f"/{conversation}/items/{identity}")
            assert raw.startswith(b"HTTP/1.1 200")
            assert len(raw) > 200_000
        assert raw_get(talk, f"/{conversation}/items?limit=100").startswith(b"HTTP/1.1 200")
    assert watch.longest < MOST_STOPPED
    shown = talk.get(f"/{conversation}/items/{older}").json
    assert shown == {"id": older, "type": "mcp_list_tools", "server_label": "x", "tools": [[[]]] * 147_000}


@pytest.mark.alone
def test_a_page_of_small_items_of_an_older_server_lets_others_have_their_turn(talk: Talking) -> None:
    conversation = talk.made()
    for _ in range(5):
        talk.added(conversation, *["x"] * 20)
    body = f'{{"type":"mcp_list_tools","server_label":"x","tools":[{",".join(["[[]]"] * 3_000)}]}}'
    talk.rows(f"UPDATE conversation_items SET body = '{body}' WHERE parent = '{conversation}'")  # noqa: S608 - the test's own
    with watched(talk) as watch:
        raw = raw_get(talk, f"/{conversation}/items?limit=100")
    assert raw.count(b'"type":"mcp_list_tools"') == 100
    assert watch.longest < MOST_STOPPED


def test_items_of_too_many_values_are_refused_with_their_place(talk: Talking) -> None:
    tools = {"type": "mcp_list_tools", "server_label": "x", "tools": [[[]]] * (MOST_VALUES // 4)}
    conversation = talk.made()
    assert talk.post(f"/{conversation}/items", {"items": [tools]}).status == 200
    for path in ("", f"/{conversation}/items"):
        answer = talk.post(path, {"items": [said("x"), tools, tools]})
        assert (answer.status, answer.error["param"], answer.error["code"]) == (400, "items[2]", "invalid_value")
        assert answer.error["message"] == (
            "`items[2]` brings the values of `items` to more than 100000; upload them as a file"
        )


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_end_before_too_many_bytes_and_have_everything_once(
    talk: Talking, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(permitted, "MOST_PAGE_BYTES", BOUND)
    conversation = talk.made()
    sizes = [10, 4_000, 4_000, 4_000, 10, 30_000, 30_000, 10, 10, 9_000, 500, 10, 3_000, 3_000]
    made = [talk.added(conversation, "x" * size)[0] for size in sizes]
    wanted = made if order == "asc" else made[::-1]
    size_of = dict(zip(made, (size + 150 for size in sizes), strict=True))

    forwards = pages(talk, f"/{conversation}/items?order={order}&limit=5", "after", "last_id")
    assert [identity for page in forwards for identity in page] == wanted
    backwards = pages(talk, f"/{conversation}/items?order={order}&limit=5&before=", "before", "first_id", wanted[-1])
    assert [identity for page in reversed(backwards) for identity in page] == wanted[:-1]
    for page in (*forwards, *backwards):
        assert len(page) == 1 or sum(size_of[identity] for identity in page) <= BOUND + 1_000
    # A page ends early where it has to, and not before.
    for page, after in pairwise(forwards):
        assert len(page) == 5 or sum(size_of[identity] for identity in (*page, after[0])) > BOUND - 1_000


def pages(talk: Talking, path: str, cursor: str, end: str, first: str | None = None) -> list[list[str]]:
    """The ids on each page, as the cursors lead from one to the next until there are no more."""
    found: list[list[str]] = []
    place = first
    while True:
        target = path.removesuffix("&before=") + ("" if place is None else f"&{cursor}={place}")
        page = talk.get(target).json
        ids = [item["id"] for item in page["data"]]
        assert ids
        assert (page["first_id"], page["last_id"]) == (ids[0], ids[-1])
        found.append(ids)
        assert len(found) < 50
        if not page["has_more"]:
            return found
        place = page[end]


def test_a_page_has_the_bytes_of_its_items_and_no_more(talk: Talking) -> None:
    conversation = talk.made()
    for _ in range(6):
        talk.added(conversation, "x" * 880_000)
    answer = talk.get(f"/{conversation}/items?limit=100")
    assert (len(answer.json["data"]), answer.json["has_more"]) == (4, True)
    assert len(answer.body) < permitted.MOST_PAGE_BYTES + 10_000


def test_an_answer_with_copies_takes_room_before_they_are_read(talk: Talking, monkeypatch: pytest.MonkeyPatch) -> None:
    [original] = talk.added(talk.made(), "x" * 200_000)
    held = []

    async def hold(size: int) -> None:
        held.append(size)

    with monkeypatch.context() as patch:
        patch.setattr(items, "hold", hold)
        talk.added(talk.made(), {"type": "item_reference", "id": original})
    assert len(held) == 1
    assert held[0] > 200_000


@pytest.mark.alone
def test_readers_that_do_not_read_fill_their_callers_share_alone(talk: Talking) -> None:
    conversation, other = talk.made(), talk.made(BOB)
    for _ in range(5):
        talk.added(conversation, "x" * 880_000)
    [item] = talk.added(other, "y" * 200_000, caller=BOB)
    before = resident()
    stalled = [stalled_reader(talk, f"/{conversation}/items?limit=100") for _ in range(READERS)]
    try:
        time.sleep(3)
        assert resident() - before < 2 * OUTGOING.each + READERS * 256 * 1024
        started = time.monotonic()
        assert talk.get(f"/{other}/items/{item}", BOB).status == 200
        assert time.monotonic() - started < 2  # those that wait do so for ten seconds
        assert talk.get(f"/{conversation}").status == 200
    finally:
        for reader in stalled:
            reader.close()
    assert talk.get(f"/{conversation}/items?limit=100").status == 200


def stalled_reader(talk: Talking, path: str) -> socket.socket:
    """A client that asks and does not read."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect((talk.house.address.host, talk.house.address.port))
    reader.sendall(request_of("GET", CONVERSATIONS + path, ALICE))
    return reader


def resident() -> int:
    """The bytes of memory that this process, with the server in it, has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096
