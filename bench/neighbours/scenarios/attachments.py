"""Chats that name files: a small one, large ones, and many that there are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.neighbours.messages import post, upload
from bench.neighbours.scenario import Scenario, Script, Stage
from bench.neighbours.scenarios.attacks import left, repeated
from bench.neighbours.settings import READER

_FILES: Final = "files"
_COUNT: Final = 20
_MB: Final = 1024 * 1024


def _uploaded(stage: Stage) -> Mapping[str, Any]:
    return {_FILES: [stage.ask(upload(stage.token, b"x" * _MB))["id"] for _ in range(_COUNT)]}


def _small(stage: Stage) -> Mapping[str, Any]:
    return {_FILES: [stage.ask(upload(stage.token, b"notes"))["id"]]}


def _naming(script: Script, *files: str) -> bytes:
    parts = [{"type": "file", "file": {"file_id": file}} for file in files]
    body = {"model": READER, "messages": [{"role": "user", "content": parts}]}
    return post("/v1/chat/completions", script.token, body)


def _named(script: Script) -> bytes:
    return _naming(script, *script.names(_FILES))


def _unknown(script: Script) -> bytes:
    return _naming(script, *(f"file-{number:048x}" for number in range(100)))


SCENARIOS: Final = [
    Scenario("chats with a small file", repeated(_named), _small, kept=True),
    Scenario("chats with large files", repeated(_named), _uploaded, kept=True),
    Scenario("chats with large files that are left", left(_named, 0.05), _uploaded, kept=True),
    Scenario("chats that name unknown files", repeated(_unknown), kept=True),
]
