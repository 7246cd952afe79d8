"""Lines that need more than is left of a quota keep no line behind them waiting."""

from __future__ import annotations

from pathlib import Path

from tests.support.batches_server import BATCHES, CHAT, batching, chat
from tests.support.files_server import wait_until
from tests.support.line_provider import line_provider

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
