"""A server that keeps files in a real database, with a real OPA in front of it; and forms to send to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from tests.support.application import ByToken
from tests.support.callers import ALICE, OWN
from tests.support.configured_server import own_folder
from tests.support.databases import backend, rows
from tests.support.patience import PATIENCE
from tests.support.real_policy import Decided, decided
from tests.support.serving import Answer

FILES = "/v1/files"
BOUNDARY = "a-boundary-of-our-own"

CONFIG = """
    version: 2
    apis: [inference]
    storage:
      backends:
        sql: BACKEND
      stores:
        files: {backend: sql, table_name: TABLE}
      blobs: BLOBS
      max_file_bytes: MOST
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: /v1/files*}
          when: user with stranger in roles
        - permit: {paths: "*"}
        access_policy:
"""
"""`stranger` may not use the routes; `OWN` follows."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """The running server, the folder of its blobs, and the table of its files."""

    house: Decided
    blobs: Path
    table: str
    database: str

    def upload(self, form: bytes, caller: str = ALICE, *headers: str, boundary: str = BOUNDARY) -> Answer:
        """The answer to a form."""
        kind = f'multipart/form-data; boundary="{boundary}"'
        return self.house.address.post(FILES, form, caller, *headers, kind=kind)

    def kept(self, content: bytes = b"hello", caller: str = ALICE, **about: str) -> str:
        """The id of a new file."""
        answer = self.upload(form_of(content, **about), caller)
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def get(self, path: str, caller: str = ALICE, method: str = "GET") -> Answer:
        """The answer to a request for a file, or a part of it."""
        return self.house.address.get(f"{FILES}{path}", caller, method=method)

    def on_disk(self) -> list[str]:
        """The names of everything in the folder."""
        return sorted(path.name for path in self.blobs.rglob("*") if path.is_file())

    def rows(self, suffix: str = "") -> list[tuple[Any, ...]]:
        """Id and owner of everything in the table, or in the one beside it."""
        statement = f"SELECT id, owner_principal FROM {self.table}{suffix} ORDER BY id"  # noqa: S608 - the test's own
        return rows(self.database, statement)

    def run(self, statement: str) -> None:
        """Change something behind the server's back."""
        rows(self.database, statement)


@contextmanager
def keeping(
    opa: Path,
    folder: Path,
    postgres: str | None = None,
    *,
    start: bool = True,
    most: str = "200KB",
    blobs: str | None = None,
    like: Keeping | None = None,
) -> Iterator[Keeping]:
    """The server over SQLite, or PostgreSQL at that address; `like` another one, it keeps in the same places."""
    place, table = folder / "blobs", f"files_{token_hex(6)}"
    database = postgres or str(folder / "files.db")
    if like is not None:
        place, table, database = like.blobs, like.table, like.database
    text = (
        (CONFIG + OWN)
        .replace("BACKEND", backend(database))
        .replace("TABLE", table)
        .replace("BLOBS", blobs or f"{{type: local, path: {place}}}")
        .replace("MOST", most)
    )
    runtime = own_folder(folder)
    with decided(text, opa, runtime, authenticator=ByToken(), start=start) as house:
        yield Keeping(house, place, table, database)


def form_of(content: bytes, filename: str = "notes.txt", purpose: str = "assistants", **fields: str) -> bytes:
    """A form as clients send it; `fields` go in beside the purpose, `expires_after` as seconds."""
    if "expires_after" in fields:
        fields |= {"expires_after[anchor]": "created_at", "expires_after[seconds]": fields.pop("expires_after")}
    kind = fields.pop("kind", "text/plain")
    named = {"purpose": purpose, **fields}
    return parts_of([*(field(name, value) for name, value in named.items()), file(content, filename, kind)])


def field(name: str, value: str) -> tuple[str, bytes]:
    """A plain part."""
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


def file(
    content: bytes, filename: str = "notes.txt", kind: str = "text/plain", name: str = "file"
) -> tuple[str, bytes]:
    """A part with a file."""
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
    return f"{disposition}\r\nContent-Type: {kind}", content


def parts_of(parts: Sequence[tuple[str, bytes]], boundary: str = BOUNDARY) -> bytes:
    """A form of these parts, each a head and a content."""
    pieces = [f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()])


def wait_until(holds: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return when it holds; fail if it never does."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_tidy(kept: Keeping) -> bool:
    """Whether there is a blob for each record, a record for each blob, and nothing else."""
    return kept.on_disk() == [row[0] for row in kept.rows()] and kept.rows("_claims") == []


def end_all_claims(kept: Keeping) -> None:
    """As if their time were over."""
    kept.run(f"UPDATE {kept.table}_claims SET expires_at = 0")  # noqa: S608 - the test's own


def wait_until_tidy(kept: Keeping) -> None:
    """Return when the janitor has seen to everything that is left; nothing may be under way."""
    end_all_claims(kept)
    wait_until(lambda: is_tidy(kept))


@contextmanager
def unchanged(kept: Keeping) -> Iterator[None]:
    """What is done meanwhile must leave nothing behind, neither on the disk nor in the database."""
    before = (kept.on_disk(), kept.rows())
    yield
    wait_until(lambda: (kept.on_disk(), kept.rows(), kept.rows("_claims")) == (*before, []))
