"""Chats with files on their way: files that go away, providers that don't read or fail, and other callers."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter

import pytest

from server.inference.attachments import SENT
from tests.support.callers import BOB
from tests.support.chat_files_server import Reading, named, reading
from tests.support.patience import PATIENCE
from tests.support.relay_server import ANSWER, whole
from tests.support.s3 import running_s3

LARGE = 12 * 1024 * 1024


class Reluctant:
    """A provider that reads the head of each request, and the rest once it may.

    `read` gets, for each request, by how many bytes it was longer than its head said, and `asked` has that number. The
    first `refusals` are answered with 500.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.forget()

    def forget(self) -> None:
        """Begin anew, for another test."""
        self.begun = threading.Semaphore(0)
        self.may_read = threading.Event()
        self.read: SimpleQueue[int] = SimpleQueue()
        self.asked: list[int] = []
        self.refusals = 0

    def serve(self) -> None:
        """Take connections until the listener is shut down."""
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        may_read, read = self.may_read, self.read
        with connection, suppress(OSError):
            head, _, body = _until(connection, b"\r\n\r\n").partition(b"\r\n\r\n")
            lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if not lengths:
                return  # a look at its health
            [length] = lengths
            self.asked.append(length)
            self.begun.release()
            assert may_read.wait(PATIENCE)
            more = len(body) - length
            with suppress(OSError):
                while more < 0 and (part := connection.recv(1 << 20)):
                    more += len(part)
            read.put(more)
            if self.refusals:
                self.refusals -= 1
                connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            elif not more:
                connection.sendall(whole(ANSWER))


def _until(connection: socket.socket, end: bytes) -> bytes:
    found = b""
    while end not in found and (part := connection.recv(4096)):
        found += part
    return found


@pytest.fixture(scope="module")
def reluctant() -> Iterator[tuple[Reluctant, str]]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        made = Reluctant(listener)
        thread = threading.Thread(target=made.serve)
        thread.start()
        yield made, f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=PATIENCE)


@pytest.fixture(scope="module")
def server(
    opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, reluctant: tuple[Reluctant, str]
) -> Iterator[Reading]:
    with reading(opa_binary, tmp_path_factory.mktemp("faults"), url=reluctant[1]) as running:
        yield running


@pytest.fixture
def far(reluctant: tuple[Reluctant, str]) -> Iterator[Reluctant]:
    reluctant[0].forget()
    yield reluctant[0]
    reluctant[0].may_read.set()


def test_a_file_that_is_deleted_while_the_request_is_sent_is_a_missing_one(server: Reading, far: Reluctant) -> None:
    large, gone = server.file(b"x" * LARGE), server.file(b"soon gone")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(server.chat, named(large), named(gone))
        assert far.begun.acquire(timeout=PATIENCE)
        server.delete(gone)
        far.may_read.set()
        answer = waiting.result(timeout=PATIENCE)
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert answer.error["param"] == "messages[0].content[1].file.file_id"
    assert far.read.get(timeout=PATIENCE) < 0


def test_one_that_is_open_already_is_sent_to_its_end(server: Reading, far: Reluctant) -> None:
    large = server.file(b"x" * LARGE)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(server.chat, named(large))
        assert far.begun.acquire(timeout=PATIENCE)
        server.delete(large)
        far.may_read.set()
        assert waiting.result(timeout=PATIENCE).status == 200
    assert far.read.get(timeout=PATIENCE) == 0


def test_one_that_becomes_shorter_is_not_sent_as_a_whole(server: Reading, far: Reluctant) -> None:
    large = server.file(b"x" * LARGE)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(server.chat, named(large))
        assert far.begun.acquire(timeout=PATIENCE)
        os.truncate(server.blob(large), 1)
        far.may_read.set()
        answer = waiting.result(timeout=PATIENCE)
    assert (answer.status, answer.error["code"]) == (500, "server_error")
    assert far.read.get(timeout=PATIENCE) < 0


@pytest.mark.alone
def test_fifty_files_of_one_chat_let_others_have_their_turns(server: Reading, far: Reluctant) -> None:
    files = [server.file(bytes([number]) * (1024 * 1024)) for number in range(50)]
    far.may_read.set()
    held = []
    for _ in range(3):
        longest, ended = [0.0], threading.Event()

        async def tick(longest: list[float] = longest, ended: threading.Event = ended) -> None:
            while not ended.is_set():
                began = perf_counter()
                await asyncio.sleep(0)
                longest[0] = max(longest[0], perf_counter() - began)
                await asyncio.sleep(0.001)

        ticking = asyncio.run_coroutine_threadsafe(tick(), server.house.policy.loop)
        assert server.chat(*map(named, files)).status == 200
        ended.set()
        ticking.result(timeout=PATIENCE)
        held.append(longest[0])
    assert min(held) < 0.05
    assert [far.read.get(timeout=PATIENCE) for _ in held] == [0, 0, 0]


def test_a_model_that_answers_for_another_gets_the_files_too(server: Reading, far: Reluctant) -> None:
    file, asked = server.file(b"x" * LARGE), far.asked
    far.may_read.set()
    far.refusals = 1
    answer = server.chat(named(file), model="pair")
    assert (answer.status, answer.json["model"]) == (200, "own/own-m")
    assert [far.read.get(timeout=PATIENCE) for _ in range(2)] == [0, 0]
    # The third model's provider takes no files, so it is left out.
    assert [size - LARGE * 4 // 3 < 1000 for size in asked] == [True, True]


def test_a_caller_whose_provider_does_not_read_holds_its_own_share_alone(server: Reading, far: Reluctant) -> None:
    large, small = server.file(b"x" * LARGE), server.file(b"bob's", caller=BOB)
    with ThreadPoolExecutor(SENT.each + 4) as pool:
        waiting = [pool.submit(server.chat, named(large)) for _ in range(SENT.each + 2)]
        for _ in range(SENT.each):
            assert far.begun.acquire(timeout=PATIENCE)
        assert not far.begun.acquire(timeout=0.2)
        other = pool.submit(server.chat, named(small), caller=BOB)
        assert far.begun.acquire(timeout=PATIENCE)
        far.may_read.set()
        assert other.result(timeout=PATIENCE).status == 200
        assert {answer.result(timeout=60).status for answer in waiting} == {200}


def test_the_text_of_a_file_is_set_aside_from_a_budget(opa_binary: Path, tmp_path: Path) -> None:
    with reading(opa_binary, tmp_path, tokens=20_000) as running:
        fits, long, other = (
            running.file(b"x" * size, filename=name)
            for size, name in ((60_000, "a.txt"), (100_000, "a.md"), (100_000, "a.pdf"))
        )
        assert running.chat(named(fits)).status == 200
        assert running.chat(named(other)).status == 200
        for parts in ([named(long)], [named(fits), named(fits)]):
            answer = running.chat(*parts)
            assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
            assert running.far.asked == []


def test_a_file_in_a_bucket_is_sent_too_and_missing_when_it_is_deleted(opa_binary: Path, tmp_path: Path) -> None:
    content = bytes(number % 251 for number in range(700_001))
    with running_s3() as bucket, reading(opa_binary, tmp_path, blobs=bucket.config("chats")) as running:
        file = running.file(content)
        assert running.chat(named(file)).status == 200
        sent = running.sent["messages"][0]["content"][0]["file"]["file_data"]
        assert b64decode(sent.partition(",")[2]) == content
        running.delete(file)
        assert running.chat(named(file)).status == 404
