"""Lines of batches pass what direct requests of the owner pass, as the owner is when they run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from policy.vocabulary import Principal
from server.api.batches import acting_callers
from server.quota import quota as quotas
from server.storage.records.usage import counted_with
from tests.support.batches_server import BATCHES, CHAT, Batching, batching, chat, line, written
from tests.support.callers import ALICE, OWN, READER, bearer
from tests.support.databases import rows
from tests.support.files_server import wait_until
from tests.support.line_provider import LineProvider, line_provider
from tests.support.patience import PATIENCE

QUOTA = """\
quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        period: minute
        limits:
        - {when: user with requests in roles, max_requests: 6}
        - {when: user with tokens in roles, max_tokens_per_period: 50}
        - {when: user with records in roles, max_bytes: 16kB}
"""
POLICY = """\
        - forbid: {actions: [create], resource: "batch::*"}
          when: user with batchless in roles
        - forbid: {actions: [create], resource: "sql_record::openai_files"}
          when: user with fileless in roles
"""
PERIOD = 2


@pytest.fixture(scope="module")
def far() -> Iterator[LineProvider]:
    with line_provider() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: LineProvider, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batching]:
    folder = tmp_path_factory.mktemp("batch_policy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(quotas.PERIODS, "minute", PERIOD)
        quota = QUOTA.replace("FOLDER", str(folder))
        with batching(opa_binary, folder, None, far.url, policy=POLICY + OWN, quota=quota) as running:
            yield running


@pytest.fixture(autouse=True)
def _anew(far: LineProvider) -> Iterator[None]:
    far.forget()
    yield
    far.go_on.set()


def error_of(result: Any) -> tuple[int, str]:
    """The status and the code of a line that was answered with an error."""
    return result["response"]["status_code"], result["response"]["body"]["error"]["code"]


def keeps_little(place: Batching, name: str) -> None:
    """Nothing has gone beyond the limit of a caller, once the parts of batches are removed."""
    key = counted_with(Principal(name, "issuer"))
    statement = f"SELECT bytes FROM ostiary_usage WHERE key = '{key}'"  # noqa: S608 - the test's own
    wait_until(lambda: rows(place.database, "SELECT count(*) FROM batches_work WHERE facet <> ''") == [(0,)], 10)
    [(size,)] = rows(place.database, statement)
    assert size <= 16_384


def test_a_line_is_refused_where_its_route_is(place: Batching, far: LineProvider) -> None:
    blunt, url = bearer("ann+blunt"), "/v1/embeddings"
    batch = place.begun([line("a", url, model="vectors", input="x")], blunt, endpoint=url)
    _, bad = place.results(place.over(batch, blunt), blunt)
    assert error_of(bad["a"]) == (403, "insufficient_permissions")
    assert far.asked == []
    direct = place.ask("POST", url, {"model": "vectors", "input": "x"}, blunt)
    assert direct.status == 403
    [decision] = place.house.log(bad["a"]["response"]["request_id"])
    assert (decision["principal"], decision["route"], decision["effect"]) == ("ann", f"POST {url}", "deny")


def test_each_model_is_decided_by_itself(place: Batching, far: LineProvider) -> None:
    batch = place.begun([chat("a"), chat("b", model="secret"), chat("c", "again")])
    good, bad = place.results(place.over(batch))
    assert (sorted(good), error_of(bad["b"])) == (["a", "c"], (404, "model_not_found"))
    assert sorted(far.asked) == ["again", "hi"]
    trusted = bearer("tom+trusted")
    good, bad = place.results(place.over(place.begun([chat("b", model="secret")], trusted), trusted), trusted)
    assert ([*good], bad) == (["b"], {})


@pytest.mark.parametrize(("role", "status"), [("batchless", 403), ("fileless", 403), ("stranger", 403)])
def test_a_batch_is_made_where_it_and_its_files_may_be(place: Batching, role: str, status: int) -> None:
    name = f"bea{role}"
    file = place.file(written([chat("a")]), bearer(name))
    answer = place.create(file, caller=bearer(f"{name}+{role}"))
    assert (answer.status, answer.error["code"]) == (status, "insufficient_permissions")
    assert place.ask("GET", BATCHES, caller=bearer(name)).json["data"] == []


def under_way(place: Batching, far: LineProvider, name: str, held: int = 16, rest: int = 5) -> str:
    """A batch whose first lines are under way, while others wait for them."""
    lines = [chat(f"held-{number}", "hold") for number in range(held)]
    batch = place.begun([*lines, *(chat(f"rest-{number}", "rest") for number in range(rest))], bearer(name))
    until = time.monotonic() + PATIENCE
    while len(far.asked) < held:
        assert time.monotonic() < until
        time.sleep(0.01)
    return batch


def test_what_an_owner_has_shown_since_counts_for_the_next_line(place: Batching, far: LineProvider) -> None:
    batch = under_way(place, far, "cleo")
    place.ask("GET", "/v1/models", caller=bearer("cleo+modest"))
    far.go_on.set()
    good, bad = place.results(place.over(batch, READER), bearer("cleo+reader"))
    assert (len(good), len(bad)) == (16, 5)
    assert {error_of(result) for result in bad.values()} == {(404, "model_not_found")}


def test_slow_lines_of_others_keep_no_caller_from_its_turn(place: Batching, far: LineProvider) -> None:
    slow = []
    for name in ("flo", "jim"):
        slow.append(under_way(place, far, name, rest=0))
        far.asked.clear()
    good, bad = place.results(place.over(place.begun([chat(f"l{number}") for number in range(4)])))
    assert (len(good), bad) == (4, {})
    assert far.asked == ["hi"] * 4
    far.go_on.set()
    for batch in slow:
        place.over(batch, READER)


def test_no_line_is_begun_for_an_owner_who_was_away_for_too_long(
    place: Batching, far: LineProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = under_way(place, far, "dan", held=16, rest=2)
    with monkeypatch.context() as patch:
        patch.setattr(
            acting_callers, "time", SimpleNamespace(time=lambda: time.time() + 25 * 3600, monotonic=time.monotonic)
        )
        far.go_on.set()
        place.until(batch, lambda shown: shown["request_counts"]["completed"] == 16, READER)
        time.sleep(0.2)
        assert place.get(batch, READER)["request_counts"]["completed"] == 16
    assert "rest" not in far.asked
    place.ask("POST", f"{BATCHES}/{batch}/cancel", caller=bearer("dan"))
    # It waits for its owner, and not with the cancel.
    assert len(place.results(place.over(batch, READER), READER)[0]) >= 16


def test_a_line_waits_until_there_is_quota(place: Batching, far: LineProvider) -> None:
    frugal, began = bearer("eva+requests"), time.time()
    batch = place.begun([chat(f"l{number}", f"quota {number}") for number in range(14)], frugal)
    good, bad = place.results(place.over(batch, READER), READER)
    assert (len(good), bad) == (14, {})
    assert sorted(far.asked) == sorted(f"quota {number}" for number in range(14))
    # With the file and the batch, these are the requests of three periods.
    assert time.time() - began > PERIOD


def test_a_line_that_is_tried_again_is_one_request_of_its_owner(
    place: Batching, far: LineProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.api.batches.lines.LONGEST_PAUSE", 0.01)
    frugal = bearer("gil+requests")
    for _ in range(12):
        time.sleep(PERIOD - time.time() % PERIOD + 0.05)
        period, far.busy = int(time.time()) // PERIOD, 2
        batch = place.begun([chat("a")], frugal)
        place.over(batch, READER)
        left = place.ask("GET", "/v1/models", caller=frugal).headers["x-ratelimit-remaining-requests"]
        if int(time.time()) // PERIOD == period:
            break
    # The file, the batch, the line and the list.
    assert left == "2"


def test_each_line_is_charged_once(place: Batching, far: LineProvider) -> None:
    frugal = bearer("fay+tokens")
    began = time.time()
    # Each costs twenty tokens, of which there are fifty in a period.
    lines = [chat(f"l{number}", f"tokens {number}", max_completion_tokens=20) for number in range(6)]
    good, bad = place.results(place.over(place.begun(lines, frugal), READER), READER)
    assert (len(good), bad) == (6, {})
    assert len(far.asked) == 6
    assert time.time() - began > PERIOD


def test_a_line_that_fits_in_no_period_is_refused_and_keeps_no_other_waiting(
    place: Batching, far: LineProvider
) -> None:
    frugal = bearer("lea+tokens")
    large = [chat(f"large-{number}", max_completion_tokens=100) for number in range(70)]
    direct = place.ask("POST", CHAT, large[0]["body"], frugal)
    good, bad = place.results(place.over(place.begun([*large, chat("small", "small")], frugal), READER), READER)
    assert ([*good], len(bad)) == (["small"], 70)
    assert {error_of(result) for result in bad.values()} == {(direct.status, direct.error["code"])}
    assert far.asked == ["small"]


def test_a_line_that_its_provider_has_no_time_for_is_tried_again(
    place: Batching, far: LineProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.api.batches.lines.LONGEST_PAUSE", 0.01)
    far.busy = 2
    good, bad = place.results(place.over(place.begun([chat("a")])))
    assert ([*good], bad, len(far.asked)) == (["a"], {}, 3)
    far.forget()
    far.busy = 100
    good, bad = place.results(place.over(place.begun([chat("a")])))
    assert (good, bad["a"]["response"]["status_code"], len(far.asked)) == ({}, 429, 5)


def test_tries_are_counted_across_the_pauses_of_a_batch(
    place: Batching, far: LineProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.api.batches.lines.LONGEST_PAUSE", 0.3)
    monkeypatch.setattr("server.api.batches.running.PATIENCE_SECONDS", 0.0)
    far.busy = 100
    _, bad = place.results(place.over(place.begun([chat("a")])))
    assert (bad["a"]["response"]["status_code"], len(far.asked)) == (429, 5)


def test_a_batch_is_no_way_around_what_its_owner_may_keep(place: Batching, far: LineProvider) -> None:
    small = bearer("ida+records")
    # Errors take more room than their lines, and are told even where there is none.
    file = place.file(written([chat(f"l{number}", model="none") for number in range(30)]), small)
    ids = [str(answer.json["id"]) for _ in range(12) if (answer := place.create(file, caller=small)).status == 200]
    done = [place.over(batch, READER) for batch in ids]
    keeps_little(place, "ida")
    refused = [shown for shown in done if shown["status"] == "failed"]
    assert refused
    assert all(shown["errors"]["data"][0]["code"] == "insufficient_quota" for shown in refused)
    assert far.asked == []


@pytest.mark.parametrize("end", ["cancel", "file"])
def test_lines_that_were_never_begun_are_told_as_far_as_there_is_room(
    place: Batching, far: LineProvider, end: str
) -> None:
    small = bearer(f"kim{end}+records")
    batch = place.begun([chat("a", "hold"), *(chat(f"l{number}", "hold") for number in range(44))], small)
    wait_until(lambda: len(far.asked) == 16)
    if end == "cancel":
        place.ask("POST", f"{BATCHES}/{batch}/cancel", caller=small)
    else:
        # What it leaves is filled again.
        content = place.ask("GET", f"/v1/files/{place.get(batch, small)['input_file_id']}/content", caller=small).body
        place.ask("DELETE", f"/v1/files/{place.get(batch, small)['input_file_id']}", caller=small)
        place.file(content, small)
    far.go_on.set()
    done = place.over(batch, READER)
    keeps_little(place, f"kim{end}")
    assert done["status"] == ("cancelled" if end == "cancel" else "failed")
    assert [error["code"] for error in done["errors"]["data"]] == ["insufficient_quota"]
    good, bad = (place.lines_of(done[name], READER) for name in ("output_file_id", "error_file_id"))
    counts = done["request_counts"]
    assert (counts["completed"], counts["failed"]) == (len(good), len(bad))
    # What was begun is told.
    assert {line["custom_id"] for line in (*good, *bad)} >= {"a", *(f"l{number}" for number in range(15))}
    assert len(far.asked) == 16
    assert done["usage"]["total_tokens"] == 16 * 20


def test_results_for_which_there_is_no_room_are_errors_of_their_lines(place: Batching, far: LineProvider) -> None:
    small = bearer("gus+records")
    # A line asks for little and is answered with more.
    batch = place.begun([chat(f"l{number}", "x") for number in range(60)], small)
    done = place.over(batch, READER)
    assert (done["status"], done["request_counts"]["total"]) == ("failed", 60)
    assert [error["code"] for error in done["errors"]["data"]] == ["insufficient_quota"]
    good, bad = (place.lines_of(done[name], READER) for name in ("output_file_id", "error_file_id"))
    assert good
    assert {line["error"]["code"] for line in bad} == {"insufficient_quota"}
    # What was spent is told and counted, whether there was room for its answer or not.
    assert len(far.asked) <= len({line["custom_id"] for line in (*good, *bad)}) == len(good) + len(bad) < 60
    assert done["usage"]["total_tokens"] == 20 * len(far.asked)
    files = [
        place.ask("GET", f"/v1/files/{done[f'{name}_file_id']}", caller=READER).json for name in ("input", "output")
    ]
    assert sum(file["bytes"] for file in files) < 16 * 1024
    assert len(far.asked) < 60


def test_nothing_that_a_client_sends_makes_a_request_an_acting_one(place: Batching) -> None:
    body = {"model": "secret", "messages": [{"role": "user", "content": "hi"}]}
    answer = place.house.address.ask(
        "POST", CHAT, ALICE, "ostiary.acting: tom", "X-Ostiary-Acting: tom", "ostiary-acting: tom", body=body
    )
    assert answer.status == 404
    assert place.house.address.ask("POST", CHAT, "ostiary.acting: tom", body=body).status in (401, 404)
