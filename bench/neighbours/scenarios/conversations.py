"""Conversations and their items: many, large, and with many references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.neighbours.messages import Unprepared, head, post
from bench.neighbours.rows import copy_row
from bench.neighbours.scenario import GREEDY, Scenario, Script, Stage
from bench.neighbours.scenarios.attacks import PATHS, Make, left, path_of, prepared, repeated, unread
from bench.neighbours.settings import Setting

_CONVERSATIONS: Final = "/v1/conversations"
_TEAMS: Final = [f"a-team-of-the-greedy-caller-{index}" for index in range(120)]
_LARGE: Final = 100_000
_MESSAGE: Final = {"type": "message", "role": "user", "content": "hello"}


def _made(stage: Stage, token: str = "", **body: Any) -> str:
    """Return the path of a new conversation."""
    return f"{_CONVERSATIONS}/{stage.ask(post(_CONVERSATIONS, token or stage.token, body))['id']}"


def _filled(stage: Stage, items: int, size: int) -> tuple[str, list[str]]:
    """Return the path of a conversation with items of that size, as full of values as is accepted, and their ids."""
    path, ids = _made(stage), []
    dense = {"type": "mcp_list_tools", "server_label": "x", "tools": [[[]]] * (size // 7)}
    plain = {"type": "message", "role": "user", "content": "x" * size}
    for _ in range(items):
        try:
            added = stage.ask(post(f"{path}/items", stage.token, {"items": [dense]}))
        except Unprepared:
            added = stage.ask(post(f"{path}/items", stage.token, {"items": [plain]}))
        ids.append(added["data"][0]["id"])
    return path, ids


def _big_item(stage: Stage) -> Mapping[str, Any]:
    path, ids = _filled(stage, 1, 735_000)
    return {PATHS: [f"{path}/items/{ids[0]}"]}


def _big_items(stage: Stage) -> Mapping[str, Any]:
    return {PATHS: [f"{_filled(stage, 40, 735_000)[0]}/items?limit=100"]}


def _middling_items(stage: Stage) -> Mapping[str, Any]:
    return {PATHS: [f"{_filled(stage, 100, 40_000)[0]}/items?limit=100"]}


def _small_items(stage: Stage) -> Mapping[str, Any]:
    return {PATHS: [f"{_filled(stage, 100, 100)[0]}/items?limit=100"]}


def _empty(stage: Stage) -> Mapping[str, Any]:
    return {PATHS: [_made(stage)]}


def _empty_of_teams(stage: Stage) -> Mapping[str, Any]:
    return {PATHS: [_made(stage, stage.issuer.token(GREEDY, _TEAMS))]}


def _large(stage: Stage) -> Mapping[str, Any]:
    """Make a conversation of many items for each run."""
    paths = []
    for _ in range(stage.runs):
        path = _made(stage, items=[_MESSAGE])
        first = stage.ask(head("GET", f"{path}/items", stage.token))["data"][0]["id"]
        copy_row(stage.database, "conversation_items", first, _LARGE)
        paths.append(path)
    return {PATHS: paths}


def _delete(script: Script) -> bytes:
    return head("DELETE", path_of(script), script.token)


def _items(*items: Mapping[str, Any]) -> Make:
    return lambda script: post(f"{path_of(script)}/items", script.token, {"items": items})


def _unknown_files(script: Script) -> bytes:
    """Name a hundred unknown files, as a caller of many teams."""
    parts = [{"type": "input_file", "file_id": f"file-{index:048}"} for index in range(100)]
    item = {"type": "message", "role": "user", "content": parts}
    return post(f"{path_of(script)}/items", script.issuer.token(GREEDY, _TEAMS), {"items": [item]})


def _new(script: Script) -> bytes:
    return post(_CONVERSATIONS, script.token, {"items": [_MESSAGE]})


def _update(script: Script) -> bytes:
    return post(path_of(script), script.token, {"metadata": {"topic": "again"}})


_REFERENCES: Final = [{"type": "item_reference", "id": f"msg_{index:048}"} for index in range(20)]
_FAR_TOO_DENSE: Final = {"type": "mcp_list_tools", "server_label": "x", "tools": [[[]]] * 120_000}
_DENSE: Final = {"type": "mcp_list_tools", "server_label": "x", "tools": [[[]]] * 8_000}
_TEXT: Final = {"type": "message", "role": "user", "content": "x" * 800_000}


SCENARIOS: Final = [
    Scenario("items that name unknown files", repeated(_unknown_files, 16), _empty_of_teams, Setting.TEAMS, kept=True),
    Scenario("items that refer to unknown items", repeated(_items(*_REFERENCES)), _empty, kept=True),
    Scenario("reads of a big item", repeated(prepared), _big_item, kept=True),
    Scenario("pages of big items", repeated(prepared), _big_items, kept=True),
    Scenario("unread pages of big items", unread(prepared), _big_items, kept=True),
    Scenario("pages of big items that are left", left(prepared, 0.01), _big_items, kept=True),
    Scenario("pages of middling items", repeated(prepared), _middling_items),
    Scenario("pages of small items", repeated(prepared), _small_items),
    Scenario("big items", repeated(_items(_TEXT)), _empty, kept=True),
    Scenario("dense items", repeated(_items(_FAR_TOO_DENSE)), _empty),
    Scenario("small dense items", repeated(_items(_DENSE)), _empty),
    Scenario("small items", repeated(_items(_MESSAGE)), _empty, kept=True),
    Scenario("new conversations", repeated(_new), kept=True),
    Scenario("updates of one conversation", repeated(_update), _empty, kept=True),
    Scenario("deletes of large conversations", repeated(_delete, 2), _large, kept=True),
]
