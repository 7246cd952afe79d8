"""The cost of records: `python -m bench.records [--million] [--write PAGE]` measures it and prints the tables.

Nothing is simulated: `ostiary run` with its OPA, an SQLite file or a PostgreSQL, tokens of an issuer, requests over
HTTP. The policy is the default one, except for files of one's team.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPResponse
from json import dumps, loads
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import uvloop

from bench import tokens, uploads
from bench.client import Load, WrongAnswer
from bench.measure import Measured, compared, ratio
from bench.processes import ROOT, Running, running
from bench.report import against, table, written_into
from bench.results import BARE, OURS, machine
from bench.uploads import Uploaded
from server.storage.database.database import Database, Step
from server.storage.database.postgres import PostgresDatabase
from server.storage.database.sqlite import SqliteDatabase
from tests.support.databases import KINDS, backend
from tests.support.postgres import running_postgres
from translators import opa

BEGIN: Final = "<!-- records: what follows is written by `python -m bench.records` -->"
END: Final = "<!-- records: until here -->"

OWN: Final = 5
"""Files that are shown."""

WHOSE: Final = ("own", "own-team")
"""Whose files are shown: one's own, by the default policy, or those that another member of one's team has made."""

FEW: Final = 10
MANY: Final = 100_000
MILLION: Final = 1_000_000

CONNECTIONS: Final = 8
_AT_ONCE: Final = 5_000
_CONFIG: Final = """
version: 2
apis: [inference]
storage:
  backends:
    main: BACKEND
  stores:
    conversations: {backend: main, table_name: conversations}
    files: {backend: main, table_name: FILES}
server:
  decision_log: FOLDER/FILES.jsonl
  auth:
    provider_config:
      type: oauth2_token
      issuer: ISSUER
      audience: AUDIENCE
      jwks: {uri: "file://FOLDER/jwks.json"}
      claims_mapping: {roles: roles, teams: teams}
"""
_BY_TEAM: Final = """
    access_policy:
    - permit: {actions: [create]}
    - permit: {actions: [read]}
      when: user in owners teams
"""
_NUMBERS: Final = {
    "sqlite": "WITH RECURSIVE all_of(n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM all_of WHERE n < ?2 - 1)",
    "postgresql": "WITH all_of AS (SELECT generate_series(CAST(?1 AS int), CAST(?2 AS int) - 1) AS n)",
}
_OTHERS: Final = """
INSERT INTO "TABLE" SELECT 'file-' || n, parent, ordering + n - CAST(?3 AS int), created_at, 'other-' || (n % 1000),
owner_issuer, '{"roles": ["developer"], "teams": ["team-' || (n % 1000) || '", "team-' || (n % 7) || '"]}', origin,
facet, expires_at, version, labels, body FROM all_of, "TABLE" WHERE id = ?4
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with the keys of the callers, and an address of a PostgreSQL."""

    folder: Path
    callers: tokens.Tokens
    postgres: str


@dataclass(frozen=True, slots=True)
class Lists:
    """Results for a page of files that are `whose` on one kind of database, by the number of files of others."""

    kind: str
    whose: str
    by_others: Mapping[int, Measured]


@contextmanager
def place() -> Iterator[Place]:
    """Yield a new one, which is removed at the end."""
    # Short, since a Unix socket's path has little room.
    with tempfile.TemporaryDirectory(prefix="bench-") as name, running_postgres() as postgres:
        callers = tokens.make()
        (Path(name) / "jwks.json").write_bytes(callers.jwks)
        yield Place(Path(name), callers, postgres.url)


@contextmanager
def served(where: Place, database: str, files: str, rules: str = "", root: Path = ROOT) -> Iterator[Running]:
    """Run a server that keeps its records in that database, the files in the table `files`, under these rules.

    `root` is the checkout whose code runs.
    """
    config = where.folder / f"{files}.yaml"
    text = _CONFIG.replace("BACKEND", backend(database)).replace("FILES", files).replace("FOLDER", str(where.folder))
    text = text.rstrip() + rules
    config.write_text(text.replace("ISSUER", tokens.ISSUER).replace("AUDIENCE", tokens.AUDIENCE))
    home = where.folder / files
    home.mkdir(mode=0o700)
    places = {"XDG_RUNTIME_DIR": str(home), "OSTIARY_HOME": str(home), "OSTIARY_OPA": str(opa.find())}
    command = ["server.cli.main", "run", str(config), "--port", "0"]
    with running(command, home / "said", {**os.environ, **places}, root) as server:
        yield server


async def conversations(where: Place, seconds: float, turns: int) -> dict[str, Mapping[str, Measured]]:
    """Measure the creation and reading of a conversation, on SQLite, beside the bare server, which keeps nothing."""
    keys = where.folder / "jwks.json"
    with (
        served(where, str(where.folder / "talks.db"), "talks") as server,
        running(["bench.bare", str(keys), "0"], where.folder / "bare") as bare,
    ):
        servers = {BARE: bare, OURS: server}
        found: dict[str, Mapping[str, Measured]] = {}
        for name, load in conversation_loads(server, where.callers).items():
            found[name] = await compared(servers, load, connections=CONNECTIONS, seconds=seconds, turns=turns)
        return found


def conversation_loads(server: Running, callers: tokens.Tokens) -> dict[str, Load]:
    """Return requests for new conversations, and for those that this makes on the server, one of each caller."""
    body = dumps({"metadata": {"topic": "a demonstration", "team": "ml"}}).encode()
    creates = [_request("POST", "/v1/conversations", token, body) for token in callers.good]
    made = [_asked(server, request)["id"] for request in creates]
    gets = [_request("GET", f"/v1/conversations/{one}", token) for one, token in zip(made, callers.good, strict=True)]
    return {name: Load(requests, 200, b'"object"') for name, requests in (("create", creates), ("get", gets))}


async def lists(where: Place, kind: str, whose: str, sizes: Sequence[int], seconds: float, turns: int) -> Lists:
    """Measure a page of 20 of the few files that are `whose` among those of others."""
    by_team = whose != WHOSE[0]
    wanted = _request("GET", "/v1/files?limit=20", where.callers.good[0])
    servers = {}
    with ExitStack() as stack:
        for size in sizes:
            table_name = f"{'team_' if by_team else ''}files_{kind}_{size}"
            database = where.postgres if kind == "postgresql" else str(where.folder / f"{table_name}.db")
            rules = _BY_TEAM if by_team else ""
            servers[str(size)] = server = stack.enter_context(served(where, database, table_name, rules))
            maker = where.callers.good[1 if by_team else 0]
            own = [_asked(server, _upload(maker))["id"] for _ in range(OWN)]
            await fill(_database(kind, database), table_name, size, own[OWN // 2])
            answer = _asked(server, wanted)
            if [one["id"] for one in answer["data"]] != own[::-1] or answer["has_more"]:
                raise WrongAnswer(f"these are not the {whose} files: {answer}")
        load = Load([wanted], 200, b'"has_more":false')
        found = await compared(servers, load, connections=1, seconds=seconds, turns=turns)
    return Lists(kind, whose, {int(size): measured for size, measured in found.items()})


def report(talks: Mapping[str, Mapping[str, Measured]], listed: Sequence[Lists], uploaded: Sequence[Uploaded]) -> str:
    """Return all results as Markdown."""
    return "\n".join(_lines(talks, listed, uploaded)) + "\n"


def _lines(
    talks: Mapping[str, Mapping[str, Measured]], listed: Sequence[Lists], uploaded: Sequence[Uploaded]
) -> Iterator[str]:
    _, alone, many = uploaded
    rows = []
    for name, rate in (("create", 1_500), ("get", 2_500)):
        cpu, p99 = talks[name][OURS].median("cpu"), talks[name][OURS].median("p99")
        what = f"{name} a conversation, {CONNECTIONS} connections"
        rows.append((f"{what}, one core for server and OPA together", f"{1000 / cpu:,.0f}/s", f"≥ {rate:,}/s"))
        rows.append((f"{what}, p99", f"{p99:.1f} ms", "≤ 20 ms"))
        rows.append((f"{what}, CPU against a bare server without records", against(talks[name]), ""))
    for one in listed:
        few = one.by_others[FEW]
        for size, goal in ((MANY, "≤ 1.5x"), (MILLION, "≤ 2x")):
            if size in one.by_others:
                what = f"list {one.whose} files among {size:,} of others against {FEW}, {one.kind}, p50"
                rows.append((what, f"{ratio(one.by_others[size], few, 'p50'):.2f}x", goal))
    rows.append((f"memory by which the server grows for {alone.size} MB", f"{alone.grown:.0f} MB", "constant"))
    rows.append((f"health during {many.count} uploads, the slowest", f"{many.slowest(1):.1f} ms", "≤ 50 ms"))
    yield f"Measured on {machine()}."
    yield ""
    yield from table(("what", "measured", "goal"), rows)
    yield ""
    yield from _details(talks, listed)
    yield ""
    yield from _of_uploads(uploaded)


def _details(talks: Mapping[str, Mapping[str, Measured]], listed: Sequence[Lists]) -> Iterator[str]:
    rows = [(f"{name} a conversation, sqlite", *_figures(measured[OURS])) for name, measured in talks.items()]
    for one in listed:
        for size, measured in one.by_others.items():
            rows.append((f"list {OWN} {one.whose} files among {size:,}, {one.kind}", *_figures(measured)))
    yield from table(("ms a request", "CPU: server", "OPA", "p50", "p99"), rows)


def _figures(measured: Measured) -> list[str]:
    return [f"{measured.median(figure):.3f}" for figure in ("server_cpu", "opa_cpu", "p50", "p99")]


def _of_uploads(uploaded: Sequence[Uploaded]) -> Iterator[str]:
    rows = []
    for one in uploaded:
        what = f"{one.count} x {one.size} MB" if one.count else "nothing"
        health = (f"{one.slowest(share):.1f} ms" for share in (0.5, 0.99, 1))
        rows.append((what, f"{one.rate:.0f}", f"{one.grown:.0f} MB", *health))
    yield from table(("uploads at once", "MB/s", "memory", "health: p50", "p99", "slowest"), rows)


async def fill(database: Database, table_name: str, others: int, own: str) -> None:
    """Add that many copies of the file, each with another owner; half of them are older than it, the others newer."""
    await database.start()
    try:
        statement = _NUMBERS[database.kind] + _OTHERS.replace("TABLE", table_name)
        for first in range(0, others, _AT_ONCE):
            last = min(first + _AT_ONCE, others)
            await database.write(Step(statement, (first, last, others // 2, own)))
        if database.kind == "postgresql":
            # PostgreSQL does so on its own, some time after a table has grown.
            await database.script("ANALYZE;")
    finally:
        await database.close()


def _database(kind: str, place_of_it: str) -> Database:
    return PostgresDatabase(place_of_it) if kind == "postgresql" else SqliteDatabase(Path(place_of_it))


def _request(method: str, path: str, token: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\nAuthorization: Bearer {token}\r\n"
    )
    if body:
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def _upload(token: str) -> bytes:
    form = (
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="notes.txt"\r\n\r\nnotes\r\n--x--\r\n'
    )
    return _request("POST", "/v1/files", token, form, "multipart/form-data; boundary=x")


def _asked(server: Running, request: bytes) -> dict[str, Any]:
    """Return the server's answer; raise WrongAnswer for a refusal."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(request)
        answer = HTTPResponse(connection)
        answer.begin()
        body = answer.read()
    if answer.status != HTTPStatus.OK:
        raise WrongAnswer(f"wanted 200: {answer.status} {body[:600]!r}")
    found: dict[str, Any] = loads(body)
    return found


def main() -> None:
    """Parse the command line, measure, print, and write."""
    parser = argparse.ArgumentParser(prog="bench.records", description="Measure what records cost.")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one slice of load")
    parser.add_argument("--turns", type=int, default=7, help="of slices")
    parser.add_argument("--million", action="store_true", help="list among a million files, too")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables between the marks of this page")
    chosen = parser.parse_args()
    began, sizes = perf_counter(), [FEW, MANY, MILLION] if chosen.million else [FEW, MANY]

    def tell(what: str) -> None:
        sys.stderr.write(f"{perf_counter() - began:4.0f} s  {what}\n")

    with place() as where, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tell("conversations")
        talks = runner.run(conversations(where, chosen.seconds, chosen.turns))
        listed = []
        for kind in KINDS:
            for whose in WHOSE:
                tell(f"lists of {whose} files, {kind}")
                listed.append(runner.run(lists(where, kind, whose, sizes, chosen.seconds, chosen.turns)))
    tell("uploads")
    text = report(talks, listed, [*uploads.measured()])
    tell("done")
    sys.stdout.write(f"\n{text}")
    if chosen.write is not None:
        chosen.write.write_text(written_into(chosen.write.read_text(), text, BEGIN, END))


if __name__ == "__main__":
    main()
