"""Many streams at once through one server: every one of them complete, and to the byte what the provider said.

A hundred of them here, a thousand under OSTIARY_NIGHTLY=1.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps
from pathlib import Path

from tests.support.ostiary_run import OPEN, Running, environment, running, written
from tests.support.streaming_provider import stream

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
COUNT = 1000 if NIGHTLY else 100
CHUNKS = 20
PAUSE = 0.5 if NIGHTLY else 0.05
PATIENCE = 100.0

BODY = dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
) % (len(BODY), BODY)


@contextmanager
def provider() -> Iterator[str]:
    """The provider's URL."""
    command = [
        sys.executable,
        str(Path(__file__).parents[1] / "support" / "streaming_provider.py"),
        str(CHUNKS),
        str(PAUSE),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.stdin.close()
            process.wait(PATIENCE)


@contextmanager
def serving(folder: Path, opa: Path, url: str) -> Iterator[Running]:
    echo = "    - {provider_id: echo, provider_type: inline::echo}\n"
    text = OPEN.replace(
        echo, f"    - {{provider_id: up, provider_type: remote::openai, config: {{base_url: {url}}}}}\n"
    ).replace("provider_id: echo", "provider_id: up")
    environ = {**environment(folder, opa), "OPENAI_API_KEY": "none"}
    with running(written(folder, text), environ) as server:
        yield server


def usage(pid: int) -> tuple[int, float]:
    """What a process holds of memory, in KiB, and how many seconds of a core it has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (resident,) = [int(line.split()[1]) for line in lines if line.startswith("VmRSS:")]
    return resident, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def begun(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection over which the head of a stream has come.

    On a busy machine a decision may take too long; then the question is put again, as clients do.
    """
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 200"):
            return reader, writer
        writer.close()
        assert b"x-should-retry: true" in head, head
        await asyncio.sleep(1)


async def one(port: int, few: asyncio.Semaphore, all_open: asyncio.Barrier) -> bytes:
    """The body of one stream; it is read on when all of them have begun."""
    async with few:
        reader, writer = await begun(port)
    await all_open.wait()
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    writer.close()
    return body


async def all_of_them(port: int, count: int) -> list[bytes]:
    async with asyncio.timeout(PATIENCE):
        few, all_open = asyncio.Semaphore(8), asyncio.Barrier(count)
        return await asyncio.gather(*(one(port, few, all_open) for _ in range(count)))


def test_many_streams_at_once_are_complete(tmp_path: Path, opa_binary: Path) -> None:
    whole = b"".join(stream("up/m", CHUNKS))
    with provider() as url, serving(tmp_path, opa_binary, url) as server:
        asyncio.run(all_of_them(server.port, 1))
        # What is made at the first stream is not counted.
        memory, seconds = usage(server.process.pid)
        bodies = asyncio.run(all_of_them(server.port, COUNT))
        more_memory, more_seconds = usage(server.process.pid)
        assert [body for body in bodies if body != whole] == []
        assert "Traceback" not in server.banner
        each = (more_seconds - seconds) / COUNT * 1000
        print(f"{COUNT} streams of {CHUNKS} chunks: {each:.2f} ms each, {memory} -> {more_memory} KiB")  # noqa: T201
