"""Files that a real server takes into a vector store: chunks a second, memory, and how long another caller waits."""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import httpx

from bench.processes import Running, running
from translators import opa

GOAL_RATE: Final = 500.0
"""Chunks a second."""

GOAL_MEMORY: Final = 100.0
"""Megabytes by which the server may grow."""

GOAL_WAIT: Final = 50.0
"""Milliseconds by which another caller's request may take longer, 99 of 100 times."""

_CONFIG: Final = "version: 2\napis: [inference, vector_io]\n"
_WORDS: Final = 20_000
_SENTENCE: Final = 15
_LOOK_SECONDS: Final = 0.05
_ASK_SECONDS: Final = 0.01
_ALONE_SECONDS: Final = 3.0
_START_SECONDS: Final = 60.0
_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Taken:
    """`size` and `memory` are in megabytes, `seconds` by the clock, `cpu` the server's own processor seconds.

    `alone` and `beside` are the milliseconds that another caller's request took before and during it, 99 of 100 times.
    """

    size: float
    chunks: int
    seconds: float
    cpu: float
    memory: float
    alone: float
    beside: float

    @property
    def rate(self) -> float:
        """Chunks a second."""
        return self.chunks / self.seconds


@dataclass(slots=True)
class _Other:
    """Another caller, who asks for the models again and again; `times` are in milliseconds."""

    url: str
    times: list[float] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while not self.ended.wait(_ASK_SECONDS):
                began = time.perf_counter()
                # A refusal, which a machine without a free processor brings about, is no answer yet.
                while client.get("/v1/models").is_error and not self.ended.is_set():
                    time.sleep(_ASK_SECONDS)
                self.times.append((time.perf_counter() - began) * 1000)

    def usual(self) -> float:
        """Return what 99 of 100 requests took at most, and forget them."""
        times, self.times = self.times, []
        return quantiles(times, n=100)[98] if len(times) > 1 else median(times)


def taken(size: float) -> Taken:
    """Measure a text of so many megabytes, in a server of its own. Raises NotStarted."""
    with _server() as server, httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=120) as client:
        _take(client, b"a text, with which the index opens and the model is loaded")
        other = _Other(str(client.base_url))
        thread = threading.Thread(target=other.ask)
        thread.start()
        try:
            text = made(size)
            time.sleep(_ALONE_SECONDS)
            alone = other.usual()
            before, spent = _resident(server.pid, "VmRSS"), _cpu(server.pid)
            Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # what follows is the most since now
            store, file, seconds = _take(client, text)
            beside, memory = other.usual(), _resident(server.pid, "VmHWM") - before
            spent = _cpu(server.pid) - spent
        finally:
            other.ended.set()
            thread.join()
        return Taken(size, _count(client, store, file), seconds, spent, memory / _MB, alone, beside)


def missed(one: Taken) -> Iterator[str]:
    """Yield a sentence for each goal that is missed."""
    if one.rate < GOAL_RATE:
        yield f"{one.size:g} MB: {one.rate:.0f} chunks a second are taken in"
    if one.memory > GOAL_MEMORY:
        yield f"{one.size:g} MB: the server grows by {one.memory:.0f} MB"
    if one.beside - one.alone > GOAL_WAIT:
        yield f"{one.size:g} MB: another caller waits {one.beside - one.alone:.0f} ms longer"


HEAD: Final = (
    "text",
    "chunks",
    "by the clock",
    "the server's processor time",
    "memory",
    "another caller, before",
    "meanwhile",
)


def row(one: Taken) -> Sequence[str]:
    """Return the row of a table with the columns of `HEAD`."""
    return (
        f"{one.size:g} MB",
        f"{one.chunks:,}",
        f"{one.rate:.0f}/s",
        f"{one.chunks / one.cpu:.0f}/s",
        f"+{one.memory:.0f} MB",
        f"{one.alone:.0f} ms",
        f"{one.beside:.0f} ms",
    )


def made(size: float) -> bytes:
    """Return a text of so many megabytes, the same each time."""
    chosen = random.Random(17)  # noqa: S311 - no secret
    letters = "etaoinshrdlucmfwyp"
    words = ["".join(chosen.choices(letters, k=chosen.randint(2, 9))) for _ in range(_WORDS)]
    sentences, length = list[str](), 0
    while length < size * _MB:
        sentences.append(" ".join(chosen.choices(words, k=_SENTENCE)) + ". ")
        length += len(sentences[-1])
    return "".join(sentences).encode()


@contextmanager
def _server() -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        config = folder / "config.yaml"
        config.write_text(_CONFIG)
        places = {"XDG_RUNTIME_DIR": name, "OSTIARY_HOME": str(folder / "home"), "OSTIARY_OPA": str(opa.find())}
        command = ["server.cli.main", "run", str(config), "--port", "0"]
        with running(command, folder / "said", {**os.environ, **places}) as server:
            yield server


def _take(client: httpx.Client, text: bytes) -> tuple[str, str, float]:
    """Return the ids of a new store and of the file in it, and the seconds from attaching it to its end."""
    store = _ask(client, "POST", "/v1/vector_stores", json={})["id"]
    sent = {"files": {"file": ("a.txt", text, "text/plain")}, "data": {"purpose": "assistants"}}
    file = _ask(client, "POST", "/v1/files", **sent)["id"]
    began = time.perf_counter()
    link = _ask(client, "POST", f"/v1/vector_stores/{store}/files", json={"file_id": file})
    while link["status"] == "in_progress":
        time.sleep(_LOOK_SECONDS)
        link = _ask(client, "GET", f"/v1/vector_stores/{store}/files/{file}")
    if link["status"] != "completed":
        raise AssertionError(link["last_error"])
    return store, file, time.perf_counter() - began


def _count(client: httpx.Client, store: str, file: str) -> int:
    """Return the number of a file's chunks."""
    count, page = 0, None
    while True:
        path = f"/v1/vector_stores/{store}/files/{file}/content"
        found = _ask(client, "GET", path, params={} if page is None else {"page": page})
        count, page = count + len(found["data"]), found["next_page"]
        if page is None:
            return count


def _ask(client: httpx.Client, method: str, path: str, **more: Any) -> Any:
    """Return the answer, once the index is open."""
    end = time.monotonic() + _START_SECONDS
    while (answer := client.request(method, path, **more)).status_code == httpx.codes.SERVICE_UNAVAILABLE:
        if time.monotonic() > end:
            break
        time.sleep(_LOOK_SECONDS)
    answer.raise_for_status()
    return answer.json()


def _resident(pid: int, line: str) -> int:
    """Return the bytes in a line of the status of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(each.split()[1]) * 1024 for each in lines if each.startswith(f"{line}:"))


def _cpu(pid: int) -> float:
    """Return the processor seconds of a process, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
