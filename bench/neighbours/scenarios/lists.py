"""Lists that look at many records, and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.neighbours.messages import BOUNDARY, FORM, chat, form, head, request, upload
from bench.neighbours.rows import copy_row
from bench.neighbours.scenario import GREEDY, Attack, Scenario, Script, Stage
from bench.neighbours.scenarios.attacks import PATHS, get, left, prepared, repeated, unread
from bench.neighbours.settings import FILES, Setting

_MANY: Final = 100_000
_SOME: Final = 100
_MB: Final = 1024 * 1024
_OTHERS: Final = ["others"]


def _files_of_others(stage: Stage) -> Mapping[str, Any]:
    """Make many files of other teams."""
    token = stage.issuer.token("other", _OTHERS)
    copy_row(stage.database, FILES, stage.ask(upload(token, b"notes"))["id"], _MANY)
    return {}


def _own_files(stage: Stage) -> Mapping[str, Any]:
    copy_row(stage.database, FILES, stage.ask(upload(stage.token, b"notes"))["id"], _MANY)
    return {}


def _some_files(stage: Stage) -> Mapping[str, Any]:
    """Make as many files as a list that asks about each one can pass over; every caller's list does."""
    copy_row(stage.database, FILES, stage.ask(upload(stage.token, b"notes"))["id"], _SOME)
    return {}


def _some_files_of_others(stage: Stage) -> Mapping[str, Any]:
    """Make as many files of another caller, so that the greedy caller's list asks about each one, too."""
    token = stage.issuer.token("other", _OTHERS)
    copy_row(stage.database, FILES, stage.ask(upload(token, b"notes"))["id"], _SOME)
    return {}


def _stored(stage: Stage) -> Mapping[str, Any]:
    made = stage.ask(chat(stage.token, store=True, metadata={"topic": "a"}))["id"]
    copy_row(stage.database, "chat_completions", made, _MANY)
    return {}


def _file(stage: Stage) -> Mapping[str, Any]:
    return {PATHS: [f"/v1/files/{stage.ask(upload(stage.token, b'x' * 16 * _MB))['id']}/content"]}


def _of_own_team(path: str) -> Callable[[Script], bytes]:
    return lambda script: head("GET", path, script.issuer.token(GREEDY, ["own"]))


def _tiny_upload(script: Script) -> bytes:
    return upload(script.token, b"notes")


def _upload(script: Script) -> bytes:
    return upload(script.token, b"x" * 8 * _MB)


def _cut_off(script: Script) -> bytes:
    return upload(script.token, b"x" * _MB)[:-1000]


def _slow_upload(script: Script) -> Attack:
    start = head("POST", "/v1/files", script.token, f"Content-Type: {FORM}", f"Content-Length: {100 * _MB}")
    return lambda crowd: crowd.drip(start + form(b"").partition(b"\r\n\r\n\r\n")[0], [b"x" * 2000], 0.01)


def _odd_upload(script: Script) -> bytes:
    return request("POST", "/v1/files", script.token, f"--{BOUNDARY}\r\n".encode() * 2000, FORM)


SCENARIOS: Final = [
    Scenario(
        "lists among files of other teams",
        repeated(_of_own_team("/v1/files")),
        _files_of_others,
        Setting.TEAMS,
        kept=True,
    ),
    Scenario("lists by an unused purpose", repeated(get("/v1/files?purpose=evals")), _own_files, kept=True),
    Scenario("long pages of files", repeated(get("/v1/files?limit=10000")), _own_files, kept=True),
    Scenario(
        "lists by a regular expression", repeated(get("/v1/files?limit=100")), _some_files, Setting.REGEXES, kept=True
    ),
    Scenario(
        "lists that ask about each record",
        repeated(get("/v1/files")),
        _some_files_of_others,
        Setting.REGEXES,
        kept=True,
    ),
    Scenario("searches by metadata", repeated(get("/v1/chat/completions?metadata[topic]=b")), _stored, kept=True),
    Scenario("searches by model", repeated(get("/v1/chat/completions?model=none")), _stored, kept=True),
    Scenario("pages of stored chats", repeated(get("/v1/chat/completions?limit=100")), _stored, kept=True),
    Scenario("uploads", repeated(_upload)),
    Scenario("tiny uploads", repeated(_tiny_upload), kept=True),
    Scenario("slow uploads", _slow_upload),
    Scenario("uploads that are left", left(_cut_off, 0.05)),
    Scenario("odd uploads", repeated(_odd_upload)),
    Scenario("downloads", repeated(prepared), _file),
    Scenario("unread downloads", unread(prepared), _file),
]
