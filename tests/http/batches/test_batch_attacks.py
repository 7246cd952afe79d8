"""Files and requests that are meant to get more than a direct request would get, or to cost others something."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Any

import pytest

from tests.support.batches_server import BATCHES, CHAT, Batching, batching, chat, line, written
from tests.support.callers import ALICE, BOB
from tests.support.line_provider import LineProvider, line_provider


@pytest.fixture(scope="module")
def far() -> Iterator[LineProvider]:
    with line_provider() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: LineProvider, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batching]:
    with batching(opa_binary, tmp_path_factory.mktemp("batch_attacks"), None, far.url) as running:
        yield running


@pytest.fixture(autouse=True)
def _anew(far: LineProvider) -> None:
    far.forget()


def spelled(**changed: Any) -> bytes:
    return dumps({**chat("x"), **changed}).encode()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "another route": (spelled(url="/v1/embeddings"), "url_mismatch"),
    "a query": (spelled(url=f"{CHAT}?x=1"), "url_mismatch"),
    "a fragment": (spelled(url=f"{CHAT}#x"), "url_mismatch"),
    "two slashes": (spelled(url=f"/{CHAT}"), "url_mismatch"),
    "an encoded slash": (spelled(url="/v1%2fchat/completions"), "url_mismatch"),
    "a way up": (spelled(url="/v1/models/../chat/completions"), "url_mismatch"),
    "another host": (spelled(url=f"http://169.254.169.254{CHAT}"), "url_mismatch"),
    "a list of routes": (spelled(url=[CHAT]), "url_mismatch"),
    "a deletion": (spelled(method="DELETE"), "invalid_method"),
    "two routes": (b'{"url":"/v1/embeddings",' + spelled()[1:], "invalid_json_line"),
    "two bodies": (b'{"body":{"model":"secret"},' + spelled()[1:], "invalid_json_line"),
    "two models": (spelled(body=0).replace(b": 0", b': {"model":"m","model":"secret"}'), "invalid_json_line"),
    "depth": (
        spelled(body=0).replace(b": 0", b': {"model":"m","x":' + b"[" * 99 + b"]" * 99 + b"}"),
        "invalid_json_line",
    ),
    "much depth": (b"[" * 100_000, "invalid_json_line"),
    "half a character": (spelled(custom_id="\ud800"), "invalid_json_line"),
    "a name with NUL": (spelled(custom_id="a\0"), "invalid_value"),
    "a name that is a path": (spelled(custom_id=["../../x"]), "invalid_value"),
    "a long name": (spelled(custom_id="x" * 100_000), "invalid_value"),
    "a model that is none": (spelled(body={"model": {"$ne": None}}), "invalid_value"),
    "a long number": (spelled(body=0).replace(b": 0", b": " + b"9" * 5000), "invalid_json_line"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_line_fails_its_file_and_nothing_runs(place: Batching, far: LineProvider, kind: str) -> None:
    raw, code = HOSTILE[kind]
    done = place.over(place.begun(b"\n".join([written([chat("before")])[:-1], raw, written([chat("behind")])])))
    assert (done["status"], done["request_counts"]["completed"], done["output_file_id"]) == ("failed", 0, None)
    assert [(error["line"], error["code"]) for error in done["errors"]["data"]] == [(2, code)]
    assert far.asked == []
    # What a client has written is not said again at length.
    assert len(done["errors"]["data"][0]["message"]) < 300


def test_names_come_back_as_they_are_and_break_no_line(place: Batching) -> None:
    names = [
        "a\nb",
        "\r\n",
        "\u2028",
        "\x85",
        '"},{"custom_id":"x',
        "\x1c\x0b\x0c",
        "😀",
        "é",
        "e\u0301",
        "../x",
        "' OR 1=1",
    ]
    good, bad = place.results(place.over(place.begun([chat(name, "hi") for name in names])))
    assert (sorted(good), bad) == (sorted(names), {})


def test_an_answer_with_ends_of_lines_is_one_line(place: Batching) -> None:
    texts = ["one\ntwo", "a\r\nb\u2028c\x85d", '"}\n{"custom_id":"forged","response":null,"error":null}']
    good, _ = place.results(place.over(place.begun([chat(str(at), text) for at, text in enumerate(texts)])))
    assert {name: found["response"]["body"]["choices"][0]["message"]["content"] for name, found in good.items()} == {
        str(at): f"said {text}" for at, text in enumerate(texts)
    }


def test_ids_of_others_are_those_that_there_are_not(place: Batching) -> None:
    lines = [chat("a"), chat("b", "fail-500")]
    batch = place.begun(lines)
    done = place.over(batch)
    missing_batch, missing_file = f"batch_{'0' * (len(batch) - 6)}", f"file-{'0' * 48}"
    for found, missing in (
        *((done[name], missing_file) for name in ("input_file_id", "output_file_id", "error_file_id")),
    ):
        foreign, none = place.create(found, caller=BOB), place.create(missing, caller=BOB)
        assert (foreign.status, none.status) == (404, 404)
        assert foreign.json == {"error": {**none.error, "message": none.error["message"].replace(missing, found)}}
        for method, target in (("GET", "/v1/files/{}"), ("GET", "/v1/files/{}/content"), ("DELETE", "/v1/files/{}")):
            answers = [place.ask(method, target.format(each), caller=BOB) for each in (found, missing)]
            assert [answer.status for answer in answers] == [404, 404]
    for method, target in (
        ("GET", f"{BATCHES}/{{}}"),
        ("POST", f"{BATCHES}/{{}}/cancel"),
        ("GET", f"{BATCHES}?after={{}}"),
    ):
        foreign, none = (place.ask(method, target.format(each), caller=BOB) for each in (batch, missing_batch))
        assert foreign.status == none.status != 200
        said = none.error["message"].replace(missing_batch, batch)
        assert foreign.json == {"error": {**none.error, "message": said}}
    # Files of a batch can't be named in a line of another caller, either.
    url = "/v1/responses"
    part = {"type": "input_file", "file_id": done["output_file_id"]}
    body = {"model": "m", "input": [{"role": "user", "content": [part]}]}
    good, bad = place.results(place.over(place.begun([line("x", url, **body)], BOB, endpoint=url), BOB), BOB)
    assert good == {}
    assert bad["x"]["response"]["status_code"] in (400, 404)
    assert place.ask("GET", f"{BATCHES}/{batch}").json == done


def test_a_client_can_not_choose_what_a_batch_says(place: Batching) -> None:
    file = place.file(written([chat("a")]))
    for member in ("id", "status", "owner", "output_file_id", "error_file_id", "created_at", "request_counts", "user"):
        answer = place.create(file, **{member: "x"})
        assert (answer.status, answer.error["param"]) == (400, member)
    batch = place.begun([chat("a")])
    before = place.over(batch)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert place.ask(method, f"{BATCHES}/{batch}", {"metadata": {"a": "b"}}).status in (403, 404, 405)
    assert place.get(batch) == before


def test_what_a_line_makes_is_its_owners(place: Batching) -> None:
    lines = [chat("kept", "keep", store=True)]
    good, _ = place.results(place.over(place.begun(lines)))
    identity = good["kept"]["response"]["body"]["id"]
    assert place.ask("GET", f"{CHAT}/{identity}", caller=ALICE).status == 200
    assert place.ask("GET", f"{CHAT}/{identity}", caller=BOB).status == 404


def test_a_cancelled_batch_has_each_line_once_whenever_it_is_cancelled(place: Batching, far: LineProvider) -> None:
    lines = [chat(f"n{number}", f"t{number}") for number in range(120)]
    for delay in (0, 1, 30, 60, 110):
        far.forget()
        batch = place.begun(lines)
        place.until(
            batch,
            lambda shown, least=delay: shown["request_counts"]["completed"] >= least or shown["status"] == "completed",
        )
        answer = place.ask("POST", f"{BATCHES}/{batch}/cancel")
        assert answer.status in (200, 400)
        done = place.over(batch)
        good, bad = place.results(done)
        if done["request_counts"]["total"]:
            assert {*good, *bad} == {line["custom_id"] for line in lines}
            assert sorted(far.asked) == sorted(f"t{name[1:]}" for name in good)
        assert done["status"] == "cancelled" or not bad
