"""Lines that need more than is left of a quota keep no line behind them waiting."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from server.api.batches.held import HeldBatch
from server.api.batches.worker import Batches
from tests.support.batches_server import BATCHES, CHAT, batching, chat
from tests.support.files_server import wait_until
from tests.support.line_provider import line_provider
from tests.support.serving import Answer

QUOTA = """\
quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        period: day
        max_tokens_per_period: 50
"""


def test_lines_that_need_more_than_is_left_keep_no_others_waiting(opa_binary: Path, tmp_path: Path) -> None:
    quota = QUOTA.replace("FOLDER", str(tmp_path))
    with line_provider() as far, batching(opa_binary, tmp_path, None, far.url, quota=quota) as place:
        # It takes twenty tokens, so that thirty are left.
        place.ask("POST", CHAT, chat("first", "first", max_completion_tokens=5)["body"])
        large = [chat(f"large-{number}", "large", max_completion_tokens=40) for number in range(100)]
        batch = place.begun([*large, chat("small", "small", max_completion_tokens=5)])
        wait_until(lambda: far.asked == ["first", "small"])
        place.ask("POST", f"{BATCHES}/{batch}/cancel")
        good, bad = place.results(place.over(batch))
        assert ([*good], len(bad)) == (["small"], 100)
        assert {line["error"]["code"] for line in bad.values()} == {"batch_cancelled"}


@pytest.mark.parametrize("is_told", [True, False])
def test_a_batch_that_is_cancelled_as_it_begins_to_wait_for_a_quota_ends(
    opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    pause, cancelled = HeldBatch.pause, list[Answer]()

    async def late(held: HeldBatch, seconds: int, **more: Any) -> None:
        if seconds and not cancelled:
            cancelled.append(await asyncio.to_thread(place.ask, "POST", f"{BATCHES}/{held.record.id}/cancel"))
        await pause(held, seconds, **more)

    async def untold(*_: object) -> None:
        """Do what `Batches.wake` does in a process that has not the batch."""

    quota = QUOTA.replace("FOLDER", str(tmp_path)).replace("50", "60")
    with line_provider() as far, batching(opa_binary, tmp_path, None, far.url, quota=quota) as place:
        place.ask("POST", CHAT, chat("first", "first", max_completion_tokens=40)["body"])
        monkeypatch.setattr(HeldBatch, "pause", late)
        if not is_told:
            monkeypatch.setattr(Batches, "wake", untold)
        batch = place.begun([chat("large", "large", max_completion_tokens=45)])
        assert place.over(batch)["status"] == "cancelled"
        assert [answer.json["status"] for answer in cancelled] == ["cancelling"]
