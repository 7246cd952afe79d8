"""Requests about batches whose answers are held against OpenAI's document."""

from __future__ import annotations

import time
from json import dumps
from typing import Any

from tests.openapi.watched import Watched
from tests.support.batches_server import BATCHES, CHAT, OVER, chat, written
from tests.support.callers import BOB
from tests.support.patience import PATIENCE


def use_batches(house: Watched) -> None:
    """Use every operation on batches of each end, with success and without."""
    for query in ("", "?limit=1", "?limit=0", "?after=x"):
        house.ask("GET", f"{BATCHES}{query}")
    slow = dumps({"echo": {"content": "a b", "delay_ms": 300}})
    for lines, end in (
        ([chat("a", model="small"), chat("b", model="none")], "completed"),
        ([chat("a", model="small"), {"custom_id": "a"}], "failed"),
        ([chat("a", slow, model="small")], "cancelled"),
    ):
        file = house.upload("batch", written(lines)).json["id"]
        asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", "metadata": {"a": "b"}}
        batch = house.made(BATCHES, asked)
        one = f"{BATCHES}/{batch}"
        if end == "cancelled":
            assert [house.ask("POST", f"{one}/cancel").status for _ in range(2)] == [200, 200]
        assert _over(house, one)["status"] == end
        if end != "cancelled":
            assert house.ask("POST", f"{one}/cancel").status == 400
        for method, path in (("GET", one), ("POST", f"{one}/cancel")):
            assert house.ask(method, path, caller=BOB).status == 404
        for more in ({"endpoint": "/v1/files"}, {"completion_window": "1h"}, {"input_file_id": "file-none"}):
            assert house.ask("POST", BATCHES, {**asked, **more}).status in (400, 404)
    for query in ("", "?limit=1", f"?after={batch}", "?limit=0"):
        house.ask("GET", f"{BATCHES}{query}")


def _over(house: Watched, one: str) -> Any:
    until = time.monotonic() + PATIENCE
    while (shown := house.ask("GET", one).json)["status"] not in OVER:
        assert time.monotonic() < until, shown
        time.sleep(0.02)
    return shown
