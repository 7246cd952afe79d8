"""The extractor: text in, pieces out, in bounded memory, whatever the process that reads does."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from time import monotonic, sleep

import pytest
import uvloop

from server.extraction import child_process, extractor
from server.extraction.extractor import Extractor
from server.extraction.frames import BadFrame, packed_pieces, unpacked_pieces
from server.extraction.pieces import Chunking, Code, Piece, Unreadable
from tests.support.extraction import blocks, cut, extract, extracted, tokenizer_file

ROOT = Path(__file__).parents[3]
PROSE = "The quick brown fox jumps over the lazy dog. \u00c4rger \u2713\n" * 20_000


def test_the_pieces_are_those_of_the_cutter() -> None:
    for chunking in (Chunking(), Chunking(100, 50)):
        assert extracted(PROSE.encode(), chunking=chunking).pieces == cut(PROSE, chunking)


def test_tokens_are_those_of_the_tokenizer() -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file()))
    found = extracted(PROSE[:100_000].encode(), chunking=Chunking(), tokenizer=tokenizer_file())
    assert found.sandboxed
    assert [piece.tokens for piece in found.pieces] == [len(tokenizer.encode(piece.text)) for piece in found.pieces]
    assert all(500 < piece.tokens <= 800 for piece in found.pieces[:-1])


def test_no_caller_waits_for_a_file_and_its_pieces_are_never_held_as_a_whole() -> None:
    """The consumer stops after one batch: the source must stop soon too."""
    given = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(1000):
            given += 100_000
            yield b"some words " * 9091

    async def run() -> None:
        reading = Extractor().pieces(source(), 100_000_000, "a.txt", "", Chunking(), None)
        async with aclosing(reading):
            await anext(reading)
            await asyncio.sleep(0.3)

    asyncio.run(run())
    assert given < 8_000_000


def test_a_fault_of_the_source_is_raised_and_leaves_no_process() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"words " * 10_000
        raise ConnectionResetError("the store")

    async def run() -> Extractor:
        reading = Extractor()
        with pytest.raises(ConnectionResetError, match="the store"):
            async for _ in reading.pieces(source(), 10**6, "a.txt", "", Chunking(), None):
                pass
        return reading

    assert not asyncio.run(run())._children


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGKILL, Code.SERVER_ERROR, "memory may have run out"),
        (signal.SIGSEGV, Code.SERVER_ERROR, "fault of the server"),
        (signal.SIGXCPU, Code.INVALID_FILE, "of a processor"),
    ],
)
def test_a_process_that_is_ended_fails_its_file_alone(number: signal.Signals, code: Code, words: str) -> None:
    async def source(reading: Extractor) -> AsyncIterator[bytes]:
        yield b"words " * 10_000
        for child in reading._children:
            os.kill(child._process.pid, number)
        yield b"words " * 10_000

    async def run() -> Unreadable:
        reading = Extractor()
        with pytest.raises(Unreadable) as failed:
            async for _ in reading.pieces(source(reading), 10**6, "a.txt", "", Chunking(), None):
                pass
        assert not reading._children
        assert [piece async for piece in reading.pieces(blocks(b"words"), 5, "b.txt", "", Chunking(), None)]
        return failed.value

    fault = asyncio.run(run())
    assert fault.code == code
    assert words in fault.message


def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "_CODE", "")
    monkeypatch.setattr(child_process, "_COMMAND", ("/bin/sleep", "1000"))
    monkeypatch.setattr(extractor, "PATIENCE", 0.005)
    code, message = asyncio.run(extract(b"words")).refused
    assert (code, "was not read within" in message) == (Code.SERVER_ERROR, True)


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense", b"P" + bytes(4), b"W\x00\x00\x00\x02{}", b"P\xff\xff\xff\xff", b"W\x00\x00\x00\x01["],
)
def test_a_process_that_breaks_the_protocol_fails_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes
) -> None:
    (tmp_path / "answer").write_bytes(answer)
    monkeypatch.setattr(child_process, "_COMMAND", ("/bin/cat", str(tmp_path / "answer")))
    code, message = asyncio.run(extract(b"words " * 100_000)).refused
    assert (code, message) == (Code.SERVER_ERROR, "the file could not be read because of a fault of the server")


@pytest.mark.parametrize(
    "piece",
    [Piece("abc", 101, 0, 3), Piece("abc", 0, 0, 3), Piece("abc", 1, 0, 4), Piece("abc", 1, 3, 0)],
)
def test_a_piece_that_cannot_be_is_refused(piece: Piece) -> None:
    good = Piece("good \u00e4", 2, 0, 6)
    assert unpacked_pieces(packed_pieces([good]), 100) == [good]
    for batch in (packed_pieces([good, piece]), packed_pieces([good])[:-1], b"", packed_pieces([good] * 65)):
        with pytest.raises(BadFrame):
            unpacked_pieces(batch, 100)


def test_a_process_that_is_not_confined_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        reading = Extractor()
        assert not reading.sandboxed
        await reading.check()
        assert (reading.sandboxed, reading.reachable) == (True, ())
        monkeypatch.setattr(child_process, "_COMMAND", (*child_process._COMMAND[:-1], _UNCONFINED))
        for _ in range(2):
            await reading.check()
        assert (reading.sandboxed, reading.reachable) == (False, ("files", "network", "processes"))

    with caplog.at_level(logging.WARNING, "ostiary.extraction"):
        asyncio.run(run())
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "they could reach files, network, processes"
    ]


_UNCONFINED = child_process._CODE.replace(
    "main()", "import server.extraction.child as c; c.confine = lambda p: (); main()"
)

_FAILING = child_process._CODE.replace(
    "main()", "from server.extraction.formats import text; text.decoded = lambda b, c: 1 / len('secret'[6:]); main()"
)


def test_a_fault_of_the_child_is_told_to_the_log_without_the_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child_process, "_COMMAND", (*child_process._COMMAND[:-1], _FAILING))
    with caplog.at_level(logging.ERROR, "ostiary.extraction"):
        code, _ = asyncio.run(extract(b"words")).refused
    assert code is Code.SERVER_ERROR
    assert "failed: ZeroDivisionError at <string>:1" in caplog.text


def test_the_server_itself_imports_no_reader_of_files() -> None:
    code = "import server.extraction.extractor, sys; print({'pypdf', 'tokenizers', 'zipfile'} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, text=True, check=True)
    assert run.stdout.strip() == "set()"


LIVING = """
import asyncio, sys
from server.extraction.extractor import Extractor
from server.extraction.pieces import Chunking

async def source():
    yield b"From: a\\nDate: b\\nContent-Type: text/plain; " + b"a*0*=x; " * 300_000  # half a minute of a processor
    print(*[child._process.pid for child in reading._children], flush=True)

async def main():
    async for _ in reading.pieces(source(), 10**6, "a.eml", "", Chunking(), None):
        pass

reading = Extractor()
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't end a child with its parent")
def test_a_process_that_computes_ends_with_a_server_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", LIVING], stdout=subprocess.PIPE, cwd=ROOT, text=True) as server:
        assert server.stdout is not None
        child = Path("/proc") / server.stdout.readline().strip() / "stat"
        assert child.exists()
        server.kill()
        server.wait()
    deadline = monotonic() + 10
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] not in "ZX":
        assert monotonic() < deadline
        sleep(0.01)


def test_it_works_in_the_event_loop_of_the_server() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(extract(PROSE.encode())).pieces == cut(PROSE, Chunking(4096, 0))
