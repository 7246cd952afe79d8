"""Requests for batches that are sent again, with the same idempotency key."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.batches_server import BATCHES, CHAT, Batching, batching, chat, written
from tests.support.callers import ALICE, BOB
from tests.support.line_provider import line_provider
from tests.support.patience import PATIENCE
from tests.support.serving import Answer


@pytest.fixture(scope="module")
def place(postgres: str | None, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batching]:
    with (
        line_provider() as far,
        batching(opa_binary, tmp_path_factory.mktemp("batches"), postgres, far.url) as running,
    ):
        yield running


def asked(place: Batching, file: str, *keys: str, caller: str = ALICE, **more: object) -> Answer:
    body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **more}
    headers = [f"Idempotency-Key: {key}" for key in keys]
    return place.house.address.ask("POST", BATCHES, caller, *headers, body=body, timeout=PATIENCE)


def test_a_request_that_is_sent_again_makes_no_second_batch(place: Batching) -> None:
    file = place.file(written([chat("a")]))
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda _: asked(place, file, "first", metadata={"a": "b"}), range(8))]
    assert {answer.status for answer in answers} == {200}
    (batch,) = {answer.json["id"] for answer in answers}
    done = place.over(batch)
    assert done["request_counts"]["total"] == 1
    # Later, it is answered with the batch as it is then.
    assert asked(place, file, "first", metadata={"a": "b"}).json == done
    assert [each["id"] for each in place.ask("GET", BATCHES).json["data"]] == [batch]


def test_a_key_is_for_one_request_of_one_caller(place: Batching) -> None:
    file, other = place.file(written([chat("a")])), place.file(written([chat("a")]))
    batch = asked(place, file, "second").json["id"]
    for answer in (asked(place, other, "second"), asked(place, file, "second", metadata={"a": "c"})):
        assert (answer.status, answer.error["code"]) == (409, "idempotency_key_in_use")
        assert answer.headers["x-should-retry"] == "false"
    bobs = place.file(written([chat("a")]), BOB)
    made = asked(place, bobs, "second", caller=BOB)
    assert made.status == 200
    assert made.json["id"] not in (batch, asked(place, file, "third").json["id"])
    # Without a key, each request makes a batch of its own.
    assert place.create(file).json["id"] != place.create(file).json["id"]


def test_a_key_that_can_be_none_is_refused(place: Batching) -> None:
    file = place.file(written([chat("a")]))
    for keys in (("",), ("k" * 256,), ("a", "b")):
        refused = asked(place, file, *keys)
        assert (refused.status, refused.error["code"]) == (400, "invalid_value")
        assert "`Idempotency-Key`" in refused.error["message"]
    assert asked(place, file, "k" * 255).status == 200
