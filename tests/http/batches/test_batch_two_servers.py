"""Two servers on one database: each works on, shows and cancels what the other was asked for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from json import dumps
from pathlib import Path
from secrets import token_hex

import pytest

from server.api.batches import acting_callers, worker
from server.api.responses.background import worker as background
from server.config.home import RECORDS_FILE, home
from server.http import held_lease
from tests.support.batches_server import BATCHES, Batching, batching_on, chat
from tests.support.callers import bearer
from tests.support.databases import empty_database, rows
from tests.support.files_server import wait_until
from tests.support.line_provider import LineProvider, line_provider


@pytest.fixture(scope="module")
def far() -> Iterator[LineProvider]:
    with line_provider() as running:
        yield running


@pytest.fixture(scope="module")
def both(
    postgres: str | None, far: LineProvider, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Batching, Batching]]:
    """Two servers that share their records and files, and look often at what the other has done."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as opened:
        for name in ("POLL_SECONDS", "WATCH_SECONDS"):
            patch.setattr(worker, name, 0.2)
        patch.setattr(background, "NOTE_SECONDS", 0.2)
        patch.setattr(acting_callers, "KNOWN_SECONDS", 0.05)
        # Nothing but these looks tells a server what the other one has changed.
        patch.setattr(held_lease, "RENEWAL_SECONDS", 15.0)
        database = str(folder / "records.db")
        if postgres is not None:
            database = opened.enter_context(empty_database(postgres))
        servers = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            made = batching_on(opa_binary, folder / name, database, far.url, blobs=str(folder / "blobs"))
            servers.append(opened.enter_context(made))
        yield servers[0], servers[1]


@pytest.fixture(autouse=True)
def _anew(far: LineProvider) -> Iterator[None]:
    far.forget()
    yield
    far.go_on.set()


def test_each_line_is_asked_once_by_either(both: tuple[Batching, Batching], far: LineProvider) -> None:
    one, two = both
    names = [f"owner{number}" for number in range(4)]
    made = [
        (name, one.begun([chat(f"l{line}", f"{name} {batch} {line}") for line in range(25)], bearer(name)))
        for name in names
        for batch in range(3)
    ]
    for name, batch in made:
        good, bad = two.results(two.over(batch, bearer(name)), bearer(name))
        assert (len(good), bad) == (25, {})
    assert max(Counter(far.asked).values()) == 1
    assert len(far.asked) == 25 * len(made)


def test_a_batch_is_cancelled_on_the_other_server(both: tuple[Batching, Batching], far: LineProvider) -> None:
    batch = both[0].begun([chat(f"l{line}", f"hold {line}") for line in range(30)])
    wait_until(lambda: len(far.asked) == 16)
    for place in both:
        # One of the two works on it, and it is the other one's cancel that counts, too.
        assert place.ask("POST", f"{BATCHES}/{batch}/cancel").json["status"] == "cancelling"
    far.go_on.set()
    good, bad = both[1].results(both[1].over(batch))
    assert (len(good), len(bad), len(far.asked)) == (16, 14, 16)


def test_attributes_that_were_shown_to_the_other_server_count(
    both: tuple[Batching, Batching], far: LineProvider
) -> None:
    name = f"ivy-{token_hex(8)}"
    # The server that is asked begins at once.
    batch = both[0].begun([chat(f"l{line}", f"hold {line}") for line in range(20)], bearer(name))
    wait_until(lambda: len(far.asked) == 16)
    both[1].ask("GET", "/v1/models", caller=bearer(f"{name}+modest"))
    # Other tests of the process may have left rows of other callers who are modest.
    row = sha256(dumps(("issuer", name)).encode()).hexdigest()
    written = f"SELECT 1 FROM responses_callers WHERE id = '{row}' AND body LIKE '%modest%'"  # noqa: S608 - ours
    wait_until(lambda: bool(rows(str(home() / RECORDS_FILE), written)))
    time.sleep(0.1)
    far.go_on.set()
    good, bad = both[1].results(both[1].over(batch, bearer("reader")), bearer(f"{name}+reader"))
    assert len(good) == 16
    assert [line["response"]["status_code"] for line in bad.values()] == [404] * 4


def test_a_server_whose_lease_is_over_writes_nothing_more(both: tuple[Batching, Batching], far: LineProvider) -> None:
    batch = both[0].begun([chat(f"l{line}", f"hold {line}") for line in range(20)])
    wait_until(lambda: len(far.asked) == 16)
    # As if the process that has it had stood still: another one takes it.
    rows(both[0].database, "UPDATE batches_work SET expires_at = 0, version = version + 1")
    done = both[0].until(batch, lambda shown: shown["request_counts"]["failed"] == 16)
    assert done["request_counts"]["completed"] in range(5)
    far.go_on.set()
    good, bad = both[0].results(both[0].over(batch))
    assert (len(good), len(bad)) == (4, 16)
    assert {line["error"]["code"] for line in bad.values()} == {"batch_interrupted"}
    assert max(Counter(far.asked).values()) == 1
