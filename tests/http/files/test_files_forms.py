"""Forms that are broken, too large, ambiguous or hostile: each is refused, and none leaves anything behind."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps
from pathlib import Path

import pytest

from server.http.multipart import LONGEST_HEADER, MOST_HEADERS
from tests.support.callers import ALICE, BOB, READER
from tests.support.files_server import BOUNDARY, FILES, Keeping, field, file, form_of, keeping, parts_of
from tests.support.serving import Answer, parsed

MOST = 200_000
PURPOSE = field("purpose", "assistants")
ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeping]:
    with keeping(opa_binary, tmp_path_factory.mktemp("attacks")) as running:
        yield running


def refused(answer: Answer, status: int, param: str | None = None, code: str | None = None) -> None:
    assert (answer.status, answer.error["param"]) == (status, param), answer.body
    assert code is None or answer.error["code"] == code


@pytest.mark.parametrize("name", ["purpose", ANCHOR, SECONDS])
def test_a_field_of_more_than_64_bytes_is_not_collected(clean: Keeping, name: str) -> None:
    for size, sentence in ((64, "must be"), (65, "is too long")):
        fields = [*([] if name == "purpose" else [PURPOSE]), field(name, "b" * size)]
        answer = clean.upload(parts_of([*fields, file(b"x")]))
        refused(answer, 400, answer.error["param"], "invalid_value")
        assert sentence in answer.error["message"]
    assert answer.error["message"] == f"`{name}` is too long"


@pytest.mark.parametrize(
    ("parts", "param", "code"),
    [
        ([PURPOSE], "file", "missing_required_parameter"),
        ([file(b"x")], "purpose", "missing_required_parameter"),
        ([PURPOSE, file(b"x"), file(b"y")], "file", "invalid_value"),
        ([PURPOSE, PURPOSE, file(b"x")], "purpose", "invalid_value"),
        ([PURPOSE, file(b"x"), PURPOSE], "purpose", "invalid_value"),
        ([PURPOSE, file(b"")], "file", "invalid_value"),
        ([PURPOSE, field("file", "x")], "file", "invalid_value"),
        ([file(b"batch", name="purpose"), file(b"x")], "purpose", "invalid_value"),
        ([field("purpose", "assistants_output"), file(b"x")], "purpose", "invalid_value"),
        ([field("purpose", ""), file(b"x")], "purpose", "invalid_value"),
        ([field("purpose", "batch\0"), file(b"x")], "purpose", "invalid_value"),
        ([field("purpose", "b" * 100_000), file(b"x")], "purpose", "invalid_value"),
        ([PURPOSE, field("owner_principal", "bob"), file(b"x")], "owner_principal", "unknown_parameter"),
        ([PURPOSE, field("id", "file-1"), file(b"x")], "id", "unknown_parameter"),
        ([PURPOSE, field("_method", "DELETE"), file(b"x")], "_method", "unknown_parameter"),
        ([PURPOSE, field("status", "error"), file(b"x")], "status", "unknown_parameter"),
        ([PURPOSE, field("x" * 500, ""), file(b"x")], "x" * 64 + "…", "unknown_parameter"),
        ([PURPOSE, field(ANCHOR, "created_at"), file(b"x")], SECONDS, "invalid_value"),
        ([PURPOSE, field(SECONDS, "3600"), file(b"x")], ANCHOR, "invalid_value"),
        ([PURPOSE, field(ANCHOR, "now"), field(SECONDS, "3600"), file(b"x")], ANCHOR, "invalid_value"),
        *(
            ([PURPOSE, field(ANCHOR, "created_at"), field(SECONDS, wrong), file(b"x")], SECONDS, "invalid_value")
            for wrong in ("3599", "2592001", "-3600", "1e4", "", "٣٦٠٠", "3600.0", "9" * 40)
        ),
        *(
            ([PURPOSE, field("expires_after", wrong), file(b"x")], "expires_after", "invalid_value")
            for wrong in ("", "3600", "{}", "[]", '{"anchor":"created_at"}', "x" * 300, '{"anchor":1,"anchor":2}')
        ),
        *(
            ([PURPOSE, field("expires_after", wrong), file(b"x")], "expires_after", "invalid_value")
            for wrong in (
                '{"anchor":"created_at","seconds":"3600"}',
                '{"anchor":"created_at","seconds":true}',
                '{"anchor":"created_at","seconds":3600.5}',
                '{"anchor":"created_at","seconds":3600,"x":1}',
            )
        ),
        ([PURPOSE, field("expires_after", '{"anchor":"now","seconds":3600}'), file(b"x")], ANCHOR, "invalid_value"),
        (
            [PURPOSE, field("expires_after", '{"anchor":"created_at","seconds":1}'), file(b"x")],
            SECONDS,
            "invalid_value",
        ),
        (
            [
                PURPOSE,
                field("expires_after", '{"anchor":"created_at","seconds":3600}'),
                field(SECONDS, "3600"),
                file(b"x"),
            ],
            "expires_after",
            "invalid_value",
        ),
    ],
)
def test_a_form_that_says_something_wrong_is_refused(
    clean: Keeping, parts: list[tuple[str, bytes]], param: str, code: str
) -> None:
    refused(clean.upload(parts_of(parts)), 400, param, code)


@pytest.mark.parametrize("first", [True, False])
def test_an_expiry_may_come_as_one_field_of_json(kept: Keeping, first: bool) -> None:
    said = field("expires_after", '{"anchor": "created_at", "seconds": 7200}')
    parts = [said, PURPOSE, file(b"x")] if first else [PURPOSE, file(b"x"), said]
    shown = kept.upload(parts_of(parts)).json
    assert shown["expires_at"] - shown["created_at"] == 7200
    assert kept.upload(parts_of([field("expires_after", "null"), PURPOSE, file(b"x")])).json.get("expires_at") is None


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"--",
        b"nothing of the kind",
        b"x" * 100_000,
        b"\r\n" * 50_000,
        b"-" * 100_000,
        form_of(b"x" * 1000)[:-4],
        form_of(b"x" * 1000)[:-300],
        form_of(b"x").replace(BOUNDARY.encode(), b"another"),
        form_of(b"x").replace(b"\r\n", b"\n"),
        parts_of([('Content-Disposition: attachment; name="file"; filename="x"', b"x")]),
        parts_of([('Content-Disposition: form-data; filename="x"', b"x")]),
        parts_of([('Content-Disposition: form-data; name="file"; filename="a"; filename="b"', b"x")]),
        parts_of([('Content-Disposition: form-data; name="purpose"; name="file"; filename="b"', b"x")]),
        parts_of([("Content-Type: text/plain", b"x")]),
        parts_of([("", b"x")]),
        parts_of([(field("purpose", "")[0] + "\r\n" + field("file", "")[0], b"x")]),
        parts_of([(field("purpose", "")[0] + "\r\nContent-Transfer-Encoding: base64", b"YmF0Y2g=")]),
        parts_of([("\r\n".join(f"X-{number}: x" for number in range(MOST_HEADERS + 1)), b"x")]),
        parts_of([(f"X: {'x' * LONGEST_HEADER}", b"x")]),
        parts_of([(f"X{'x' * LONGEST_HEADER}: x", b"x")]),
        parts_of([file(b"x", "n" * LONGEST_HEADER)]),
        form_of(b"x").replace(b"notes", b"\xff"),
        parts_of([PURPOSE] * 2000),
        parts_of([field(f"f{number}", "") for number in range(3000)]),
        b"--" + BOUNDARY.encode() + b"--\r\n",
        parts_of([PURPOSE, file((b"\r\n--" + BOUNDARY.encode() + b"x") * 5000)]),
    ],
)
def test_what_is_no_form_is_refused(clean: Keeping, form: bytes) -> None:
    answer = clean.upload(form)
    assert answer.status == 400, answer.body
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("", 415),
        ("application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/mixed; boundary=x", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ('multipart/form-data; boundary=""', 400),
        (f"multipart/form-data; boundary={'b' * 71}", 400),
        ('multipart/form-data; boundary="x\t"', 400),
        ("multipart/form-data; boundary*=utf-8''x", 400),
    ],
)
def test_a_body_of_another_kind_is_refused(clean: Keeping, kind: str, status: int) -> None:
    assert clean.house.address.post(FILES, b"--x--", ALICE, kind=kind).status == status


def test_a_compressed_form_is_refused(clean: Keeping) -> None:
    assert clean.upload(form_of(b"x"), ALICE, "Content-Encoding: gzip").status == 415


def test_a_file_may_be_as_large_as_is_configured(kept: Keeping) -> None:
    assert kept.upload(form_of(b"x" * MOST)).json["bytes"] == MOST


@pytest.mark.parametrize("size", [MOST + 1, MOST + 100_000])
def test_a_larger_file_is_refused(clean: Keeping, size: int) -> None:
    refused(clean.upload(form_of(b"x" * size)), 413, "file")


def test_a_larger_file_is_refused_before_it_is_sent(clean: Keeping) -> None:
    lines = [
        f"POST {FILES} HTTP/1.1",
        "Host: here",
        ALICE,
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        "Content-Length: 1000000000",
        "Expect: 100-continue",
    ]
    raw = clean.house.address.exchange("\r\n".join([*lines, "", ""]).encode())
    refused(parsed(raw), 413, "file")


def test_whoever_may_not_create_is_refused_before_anything_is_sent(clean: Keeping) -> None:
    lines = [
        f"POST {FILES} HTTP/1.1",
        "Host: here",
        READER,
        "Content-Type: application/of-any-kind",
        "Content-Length: 1000000000",
        "Expect: 100-continue",
    ]
    answer = parsed(clean.house.address.exchange("\r\n".join([*lines, "", ""]).encode()))
    assert (answer.status, answer.error["code"]) == (403, "insufficient_permissions")


def test_a_form_without_end_is_refused(clean: Keeping) -> None:
    """In chunks, so that nothing is known of its length; once as content, once behind the form."""
    for start in (form_of(b"x")[:-30], form_of(b"x")):
        head = f"POST {FILES} HTTP/1.1\r\nHost: a\r\n{ALICE}\r\nTransfer-Encoding: chunked\r\n"
        head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        pieces = [start, *[b"y" * 10_000] * 30]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        refused(parsed(clean.house.address.exchange(head.encode() + body)), 413, "file")


def test_parts_may_come_in_any_order(kept: Keeping) -> None:
    parts = [file(b"x"), field(SECONDS, "2592000"), PURPOSE, field(ANCHOR, "created_at")]
    shown = kept.upload(parts_of(parts)).json
    assert (shown["purpose"], shown["expires_at"] - shown["created_at"]) == ("assistants", 2592000)


@pytest.mark.parametrize("piece", [1, 7, 30, 1000])
def test_a_form_is_the_same_however_it_is_cut(kept: Keeping, piece: int) -> None:
    content = (b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n-\r\n--\r\n") * 20
    form = form_of(content)
    head = f"POST {FILES} HTTP/1.1\r\nHost: a\r\n{ALICE}\r\nTransfer-Encoding: chunked\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    pieces = [form[start : start + piece] for start in range(0, len(form), piece)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*pieces]) + b"0\r\n\r\n"
    answer = parsed(kept.house.address.exchange(head.encode() + body))
    assert kept.get(f"/{answer.json['id']}/content").body == content


def test_no_byte_of_alice_is_in_any_answer_to_bob(kept: Keeping) -> None:
    canaries = [f"canary-{number}-of-alice" for number in range(3)]
    made = [kept.kept(canary.encode(), filename=f"{canary}.txt", purpose="evals") for canary in canaries]
    targets = ["", "?purpose=evals", "?limit=10000&order=asc"]
    targets += [f"?after={identity}" for identity in made]
    targets += [f"/{identity}{part}" for identity in made for part in ("", "/content", "/", "/content/x")]
    answers = [kept.get(target, BOB, method) for target in targets for method in ("GET", "DELETE", "HEAD")]
    answers += [kept.house.address.post(f"{FILES}/{identity}", dumps({}).encode(), BOB) for identity in made]
    answers.append(kept.upload(form_of(b"x", id=made[0]), BOB))
    for answer in answers:
        seen = answer.body + repr(answer.headers).encode()
        assert not [canary for canary in canaries if canary.encode() in seen]
    assert all(kept.get(f"/{identity}/content").body.decode() in canaries for identity in made)
