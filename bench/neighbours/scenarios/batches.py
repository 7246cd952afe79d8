"""Batches of many lines: as many as are taken, and input files that are checked again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from json import dumps
from typing import Any, Final

from bench.neighbours.crowd import Crowd
from bench.neighbours.messages import Unprepared, ask, head, post, upload
from bench.neighbours.scenario import Attack, Scenario, Script, Stage

_BATCHES: Final = "/v1/batches"
_CHAT: Final = "/v1/chat/completions"
_FILE: Final = "file"
_MANY: Final = 5_000
_CHECKED: Final = 20_000
_CONNECTIONS: Final = 4
_PAGE: Final = 100


def _made(count: int, *, end: str = "") -> Callable[[Stage], Mapping[str, Any]]:
    """Return the preparation that uploads a file of so many lines, and of what follows them."""

    def prepare(stage: Stage) -> Mapping[str, Any]:
        body = {"model": "bench/fast", "messages": [{"role": "user", "content": "Say one word. " * 20}]}
        line = {"method": "POST", "url": _CHAT, "body": body}
        lines = "".join(dumps({"custom_id": str(number), **line}) + "\n" for number in range(count)) + end
        return {_FILE: stage.ask(upload(stage.token, lines.encode(), "batch"))["id"]}

    return prepare


def _begun_and_cancelled(script: Script) -> Attack:
    """Make batches of the file, and cancel them when the time is over, so that the next run begins without any."""
    body = {"input_file_id": script.prepared.get(_FILE, "none"), "endpoint": _CHAT, "completion_window": "24h"}
    wanted = post(_BATCHES, script.token, body)

    async def attack(crowd: Crowd) -> None:
        try:
            await crowd.repeat([wanted], _CONNECTIONS)
        finally:
            page = ask(crowd.port, head("GET", f"{_BATCHES}?limit={_PAGE}", script.token))
            for batch in page["data"]:
                if batch["status"] in ("validating", "in_progress"):
                    path = f"{_BATCHES}/{batch['id']}/cancel"
                    with suppress(Unprepared):  # it may have ended
                        ask(crowd.port, head("POST", path, script.token, "Content-Length: 0"))

    return attack


SCENARIOS: Final = [
    Scenario("batches of many lines", _begun_and_cancelled, _made(_MANY), kept=True),
    Scenario(
        "input files of batches with a fault at their end", _begun_and_cancelled, _made(_CHECKED, end="{"), kept=True
    ),
]
