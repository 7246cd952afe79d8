"""The largest input file that there may be: 50,000 lines of 200 MB, checked and answered beside other callers."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from server.api.batches.validation import MOST_BYTES, MOST_LINES
from tests.support.batches_server import BATCHES, Batching, batching, chat, written
from tests.support.callers import BOB
from tests.support.line_provider import line_provider

SECONDS = 900.0


@pytest.mark.skipif("OSTIARY_NIGHTLY" not in os.environ, reason="takes minutes: OSTIARY_NIGHTLY=1")
@pytest.mark.timeout(2 * SECONDS)
def test_the_largest_file_is_answered(opa_binary: Path, tmp_path: Path) -> None:
    with line_provider() as far, batching(opa_binary, tmp_path, None, far.url) as place:
        waits, over = list[float](), threading.Event()
        other = threading.Thread(target=_look_again_and_again, args=(place, waits, over))
        other.start()
        try:
            done = place.over(place.begun(_largest()), seconds=SECONDS)
        finally:
            over.set()
            other.join()
        good, bad = place.results(done)
        assert (done["status"], len(good), len(bad)) == ("completed", MOST_LINES, 0)
        assert len(far.asked) == MOST_LINES
        # The server, its client and the provider are threads of this process, so that this is far from a measurement.
        assert sorted(waits)[len(waits) // 2] < 1.0
        too_many = place.over(
            place.begun(b"".join(written([chat(str(at))]) for at in range(MOST_LINES + 1))), seconds=SECONDS
        )
        assert [(error["code"], error["line"]) for error in too_many["errors"]["data"]] == [
            ("too_many_tasks", MOST_LINES + 1)
        ]


def _largest() -> bytes:
    lines = [written([chat(f"line-{number}", str(number), user="")]) for number in range(MOST_LINES)]
    each = (MOST_BYTES - sum(map(len, lines))) // MOST_LINES
    whole = b"".join(line.replace(b'"user": ""', b'"user": "%b"' % (b"x" * each)) for line in lines)
    whole += b"\n" * (MOST_BYTES - len(whole))
    assert len(whole) == MOST_BYTES
    return whole


def _look_again_and_again(place: Batching, waits: list[float], over: threading.Event) -> None:
    while not over.wait(0.05):
        began = time.monotonic()
        assert place.ask("GET", BATCHES, caller=BOB).status == 200
        waits.append(time.monotonic() - began)
