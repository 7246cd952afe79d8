"""Requests about prompts, by their routes."""

from __future__ import annotations

from typing import Any

from tests.support.callers import ALICE
from tests.support.chats_server import PROMPTS, Chatting
from tests.support.serving import Answer

NOWHERE = "pmpt_" + "0" * 48
WORDING = {"prompt": "Hello, {{ name }}!", "variables": ["name"]}
BY_ID = [
    ("GET", "", None),
    ("HEAD", "", None),
    ("GET", "?version=1", None),
    ("GET", "/versions", None),
    ("PUT", "", {**WORDING, "version": 1}),
    ("PUT", "/set-default-version", {"version": 1}),
    ("DELETE", "", None),
]


def changed(kept: Chatting, made: str, version: int, text: str = "Bye!", **more: Any) -> Answer:
    return kept.ask("PUT", f"{PROMPTS}/{made}", ALICE, {"prompt": text, "version": version, **more})


def target(identity: str, rest: str | None) -> str:
    return PROMPTS if rest is None else f"{PROMPTS}/{identity}{rest}"
