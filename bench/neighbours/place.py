"""The processes of a run, each on its core."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from json import dumps
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from shutil import rmtree
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from bench import tokens
from bench.neighbours import greedy, modest
from bench.neighbours.cores import CLIENTS, SERVER, on_core
from bench.neighbours.settings import Setting, configuration
from bench.processes import Running, running
from tests.support.databases import empty_database
from tests.support.postgres import running_postgres
from translators import opa

_END_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Served:
    """A server, its database (an SQLite file or the address of a PostgreSQL), and the folder of its decision log."""

    server: Running
    database: str
    home: Path

    def logged(self) -> int:
        """Return the bytes of the decision log, rotated files included."""
        return sum(file.stat().st_size for file in self.home.glob("decisions.jsonl*"))


@dataclass(frozen=True, slots=True)
class Place:
    """A folder for every file of the run, the issuer, the other servers, and the processes of both callers."""

    folder: Path
    issuer: tokens.Issuer
    upstream: Running
    reader: Running
    identity: Running
    bare: Running
    modest: Connection
    greedy: Connection
    postgres: str | None
    numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def served(self, setting: Setting, kind: str, workers: int, *, sampled: Path | None = None) -> Iterator[Served]:
        """Run `ostiary run` with an empty database of that kind. Raises NotStarted.

        `sampled` is the file for the samples of `bench.sampler`.
        """
        # Short, since a Unix socket's path has little room.
        home = self.folder / str(next(self.numbers))
        home.mkdir(mode=0o700)
        with ExitStack() as stack:
            stack.callback(rmtree, home)
            database = str(home / "records.db")
            if kind == "postgresql":
                if self.postgres is None:
                    raise ValueError("this run has no PostgreSQL")
                database = stack.enter_context(empty_database(self.postgres))
            config = home / "config.yaml"
            text = configuration(
                setting,
                backend=_backend(database),
                folder=str(home),
                upstream=self.upstream.port,
                reader=self.reader.port,
                identity=self.identity.port,
                workers=workers,
            )
            config.write_text(dumps(text))
            places = {"XDG_RUNTIME_DIR": str(home), "OSTIARY_HOME": str(home / "home"), "OSTIARY_OPA": str(opa.find())}
            program = ["server.cli.main"] if sampled is None else ["bench.sampler", str(sampled)]
            command = [*program, "run", str(config), "--port", "0"]
            with on_core(SERVER):
                server = stack.enter_context(running(command, home / "said", {**os.environ, **places}))
            yield Served(server, database, home)


@contextmanager
def place(*, postgres: bool) -> Iterator[Place]:
    """Yield a new one, which is removed at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        issuer = tokens.issuer()
        keys = folder / "jwks.json"
        keys.write_bytes(issuer.jwks)
        with on_core(CLIENTS):
            upstream = stack.enter_context(running(["bench.upstream", str(keys)], folder / "upstream"))
            reader = stack.enter_context(running(["bench.upstream", str(keys)], folder / "reader"))
            identity = stack.enter_context(running(["bench.neighbours.identity"], folder / "identity"))
            url = stack.enter_context(running_postgres()).url if postgres else None
            callers = [stack.enter_context(_caller(main)) for main in (modest.main, greedy.main)]
        with on_core(SERVER):
            bare = stack.enter_context(running(["bench.bare", str(keys), str(upstream.port)], folder / "bare"))
        yield Place(folder, issuer, upstream, reader, identity, bare, callers[0], callers[1], url)


@contextmanager
def _caller(main: Callable[[Connection], None]) -> Iterator[Connection]:
    """Run a process that takes orders."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=main, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours
        ours.send(None)
        process.join(_END_SECONDS)
    finally:
        process.kill()


def _backend(database: str) -> dict[str, Any]:
    if not database.startswith("postgresql:"):
        return {"type": "sql_sqlite", "db_path": database}
    parts = urlsplit(database)
    host = parse_qs(parts.query)["host"][0]
    return {"type": "sql_postgres", "host": host, "db": parts.path[1:], "user": parts.username}
