"""Batches: what is shown of them while they are under way, and what they come to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.batches_server import BATCHES, CHAT, Batching, batching, chat, line, written
from tests.support.callers import ALICE, BOB
from tests.support.databases import rows
from tests.support.files_server import wait_until
from tests.support.line_provider import LineProvider, line_provider


@pytest.fixture(scope="module")
def far() -> Iterator[LineProvider]:
    with line_provider() as running:
        yield running


@pytest.fixture(scope="module")
def place(
    postgres: str | None, far: LineProvider, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Batching]:
    with batching(opa_binary, tmp_path_factory.mktemp("batches"), postgres, far.url) as running:
        yield running


@pytest.fixture(autouse=True)
def _anew(far: LineProvider) -> None:
    far.forget()


def test_every_line_is_answered(place: Batching, far: LineProvider) -> None:
    batch = place.begun([chat(f"line-{number}", f"text {number}") for number in range(40)], metadata={"a": "b"})
    done = place.over(batch)
    assert (done["status"], done["object"], done["endpoint"]) == ("completed", "batch", "/v1/chat/completions")
    assert (done["model"], done["metadata"], done["errors"]) == ("m", {"a": "b"}, None)
    assert done["error_file_id"] is None
    good, _ = place.results(done)
    for number in range(40):
        answer = good[f"line-{number}"]
        assert answer["error"] is None
        assert answer["id"].startswith("batch_req_")
        assert answer["response"]["status_code"] == 200
        assert answer["response"]["request_id"].startswith("req_")
        assert answer["response"]["body"]["choices"][0]["message"]["content"] == f"said text {number}"
        assert answer["response"]["body"]["model"] == "far/m"
    assert sorted(far.asked) == sorted(f"text {number}" for number in range(40))
    made = place.ask("GET", f"/v1/files/{done['output_file_id']}").json
    assert (made["purpose"], made["filename"]) == ("batch_output", f"{batch}_output.jsonl")
    assert made["expires_at"] == made["created_at"] + 30 * 24 * 3600
    times = [done[name] for name in ("created_at", "in_progress_at", "finalizing_at", "completed_at")]
    assert times == sorted(times)
    assert done["expires_at"] == done["created_at"] + 24 * 3600
    assert [done[name] for name in ("failed_at", "expired_at", "cancelling_at", "cancelled_at")] == [None] * 4


def test_other_endpoints_are_answered_too(place: Batching) -> None:
    for url, body, object_ in (
        ("/v1/completions", {"model": "m", "prompt": "a"}, "text_completion"),
        ("/v1/embeddings", {"model": "vectors", "input": "a"}, "list"),
        ("/v1/responses", {"model": "m", "input": "a"}, "response"),
    ):
        good, bad = place.results(place.over(place.begun([line("a", url, **body)], endpoint=url)))
        assert bad == {}
        assert good["a"]["response"]["body"]["object"] == object_


def test_a_response_of_a_line_is_stored_for_the_owner(place: Batching) -> None:
    url = "/v1/responses"
    done = place.over(place.begun([line("a", url, model="m", input="x")], endpoint=url))
    answer = place.results(done)[0]["a"]["response"]["body"]
    assert place.ask("GET", f"{url}/{answer['id']}").json["output"] == answer["output"]
    assert place.ask("GET", f"{url}/{answer['id']}", caller=BOB).status == 404


def test_what_has_no_place_in_a_file_is_an_error_of_its_line(place: Batching, far: LineProvider) -> None:
    lines = [chat("streamed", "a", stream=True), chat("whole", "b")]
    good, bad = place.results(place.over(place.begun(lines)))
    assert [*good] == ["whole"]
    refused = bad["streamed"]["response"]
    assert (refused["status_code"], refused["body"]["error"]["param"]) == (400, "stream")
    url = "/v1/responses"
    later = [line("later", url, model="m", input="x", background=True)]
    _, bad = place.results(place.over(place.begun(later, endpoint=url)))
    refused = bad["later"]["response"]
    assert (refused["status_code"], refused["body"]["error"]["param"]) == (400, "background")
    assert far.asked == ["b"]


def test_errors_of_lines_are_errors_of_direct_requests(place: Batching) -> None:
    lines = [
        chat("fails", "fail-500"),
        chat("none", "a", model="nowhere"),
        line("odd", CHAT, model="m", messages="x"),
        chat("fine"),
    ]
    done = place.over(place.begun(lines))
    good, bad = place.results(done)
    assert (done["status"], [*good], "model" in done) == ("completed", ["fine"], False)
    for each in lines[:3]:
        direct = place.ask("POST", each["url"], each["body"])
        found = bad[each["custom_id"]]["response"]
        assert (found["status_code"], found["body"]) == (direct.status, direct.json)


def test_a_file_with_wrong_lines_fails_before_any_is_run(place: Batching, far: LineProvider) -> None:
    lines = [chat("a"), chat("b"), chat("a")]
    done = place.over(place.begun(lines))
    assert (done["status"], done["request_counts"]) == ("failed", {"total": 0, "completed": 0, "failed": 0})
    assert done["failed_at"] >= done["created_at"]
    [error] = done["errors"]["data"]
    assert (error["code"], error["line"], error["param"]) == ("duplicate_custom_id", 3, "custom_id")
    assert (done["errors"]["object"], done["output_file_id"], done["error_file_id"]) == ("list", None, None)
    assert far.asked == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"endpoint": "/v1/models"}, "endpoint"),
        ({"endpoint": 1}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": ""}, "input_file_id"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 3599}}, "output_expires_after.seconds"),
        ({"output_expires_after": {"anchor": "now", "seconds": 3600}}, "output_expires_after.anchor"),
        ({"output_expires_after": {"anchor": "created_at"}}, "output_expires_after.seconds"),
        ({"more": 1}, "more"),
    ],
)
def test_a_wrong_request_is_refused(place: Batching, body: dict[str, object], param: str) -> None:
    answer = place.create("file-" + "0" * 48, **{"endpoint": "/v1/completions", **body})  # type: ignore[arg-type]
    assert (answer.status, answer.error["param"]) == (400, param)


def test_any_file_will_not_do(place: Batching) -> None:
    mine = place.file(written([chat("a")]), purpose="assistants")
    answer = place.create(mine)
    assert (answer.status, answer.error["param"]) == (400, "input_file_id")
    output = place.over(place.begun([chat("a")]))["output_file_id"]
    answer = place.create(output)
    assert (answer.status, answer.error["param"]) == (400, "input_file_id")
    bobs, missing = place.file(written([chat("a")]), BOB), "file-" + "0" * 48
    refused = [place.create(file) for file in (bobs, missing)]
    for answer, file in zip(refused, (bobs, missing), strict=True):
        assert (answer.status, answer.error["param"], answer.error["code"]) == (404, "input_file_id", "not_found")
        assert answer.error["message"] == f"there is no `{file}`, or you have no access to it"


def test_the_files_of_a_batch_expire_when_its_request_says(place: Batching) -> None:
    after = {"anchor": "created_at", "seconds": 3600}
    done = place.over(place.begun([chat("a"), chat("b", stream=True)], output_expires_after=after))
    for name in ("output_file_id", "error_file_id"):
        made = place.ask("GET", f"/v1/files/{done[name]}").json
        assert made["expires_at"] == made["created_at"] + 3600


def test_batches_are_listed_newest_first(place: Batching) -> None:
    dora = "Authorization: Bearer dora"
    made = [place.begun([chat("a")], dora) for _ in range(3)]
    listed = place.ask("GET", BATCHES, caller=dora).json
    assert [each["id"] for each in listed["data"]] == made[::-1]
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == (made[2], made[0], False)
    page = place.ask("GET", f"{BATCHES}?limit=1&after={made[2]}", caller=dora).json
    assert ([each["id"] for each in page["data"]], page["has_more"]) == ([made[1]], True)
    assert place.ask("GET", BATCHES, caller="Authorization: Bearer nina").json["data"] == []
    for batch in made:
        place.over(batch, dora)


def test_a_batch_is_its_owners_alone(place: Batching) -> None:
    batch = place.begun([chat("a"), chat("b", stream=True)])
    done = place.over(batch)
    for method, path in (("GET", f"{BATCHES}/{batch}"), ("POST", f"{BATCHES}/{batch}/cancel")):
        answer = place.ask(method, path, caller=BOB)
        assert (answer.status, answer.error["code"]) == (404, "not_found")
    for name in ("output_file_id", "error_file_id"):
        for path in (f"/v1/files/{done[name]}", f"/v1/files/{done[name]}/content"):
            assert place.ask("GET", path, caller=BOB).status == 404
            assert place.ask("GET", path, caller=ALICE).status == 200
    listed = [each["id"] for each in place.ask("GET", "/v1/files?purpose=batch_output").json["data"]]
    assert {done["output_file_id"], done["error_file_id"]} <= {*listed}
    assert place.ask("DELETE", f"/v1/files/{done['output_file_id']}").json["deleted"] is True


def test_nothing_is_left_of_a_batch_that_is_over(place: Batching) -> None:
    place.over(place.begun([chat(str(number)) for number in range(3)]))
    for table in ("batches_work", "batches_parts"):
        wait_until(lambda: not rows(place.database, f"SELECT 1 FROM {table}"))  # noqa: B023, S608 - the test's own


def test_nothing_inside_of_a_line_ends_it(place: Batching) -> None:
    text = "a\u2028b\u2029c\u0085d\ne\rf"
    # The provider that repeats its caller writes all characters as they are.
    done = place.over(place.begun([chat("a", text, "small")]))
    written_text = place.ask("GET", f"/v1/files/{done['output_file_id']}/content").body.decode()
    assert len(written_text.splitlines()) == 1
    assert place.results(done)[0]["a"]["response"]["body"]["choices"][0]["message"]["content"] == f"echo: {text}"
