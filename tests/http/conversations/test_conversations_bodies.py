"""Bodies of requests about conversations: metadata, sizes, types, and what is no JSON."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Any

import pytest

from server.api.conversations.body import MOST_BYTES
from tests.support.callers import ALICE, READER
from tests.support.conversations_server import CONVERSATIONS, Talking, said, talking
from tests.support.serving import parsed

CRLF = "\r\n"


@pytest.fixture(scope="module")
def talk(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talking]:
    with talking(opa_binary, tmp_path_factory.mktemp("bodies")) as running:
        yield running


def message(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [*parts]}


@pytest.mark.parametrize(
    ("metadata", "param"),
    [
        ([], "metadata"),
        ("x", "metadata"),
        ({f"k{n}": "v" for n in range(17)}, "metadata"),
        ({"k" * 65: "v"}, "metadata"),
        ({"": "v"}, "metadata"),
        ({"a\0": "v"}, "metadata"),
        ({"k": "v" * 513}, "metadata.k"),
        ({"k": 1}, "metadata.k"),
        ({"k": None}, "metadata.k"),
        ({"k": {"a": "b"}}, "metadata.k"),
        ({"k": "a\0"}, "metadata.k"),
    ],
)
def test_metadata_is_a_few_short_texts(talk: Talking, metadata: Any, param: str) -> None:
    conversation = talk.made(metadata={"kept": "yes"})
    for path in ("", f"/{conversation}"):
        answer = talk.post(path, {"metadata": metadata})
        assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, "invalid_value")
    assert talk.get(f"/{conversation}").json["metadata"] == {"kept": "yes"}


def test_metadata_may_be_as_large_as_openai_lets_it(talk: Talking) -> None:
    metadata = {f"{n:02}" + "é" * 62: "😀" * 512 for n in range(16)}
    assert talk.get(f"/{talk.made(metadata=metadata)}").json["metadata"] == metadata


def test_an_update_says_what_the_metadata_is_to_be(talk: Talking) -> None:
    answer = talk.post(f"/{talk.made()}", {})
    assert (answer.status, answer.error["param"]) == (400, "metadata")
    answer = talk.post(f"/{talk.made()}", {"metadata": {}, "items": []})
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, "items", "unknown_parameter")


def test_whoever_reads_everything_still_copies_nothing(talk: Talking) -> None:
    conversation = talk.made()
    [item] = talk.added(conversation, "x")
    answer = talk.post(f"/{conversation}/items", {"items": [{"type": "item_reference", "id": item}]}, READER)
    assert (answer.status, answer.error["code"]) == (403, "insufficient_permissions")


def test_large_items_are_kept_and_larger_ones_are_refused(talk: Talking) -> None:
    conversation = talk.made()
    large = "x" * (MOST_BYTES - 2_000)
    [made] = talk.added(conversation, large)
    assert talk.get(f"/{conversation}/items/{made}").json["content"][0]["text"] == large
    copy = {"type": "item_reference", "id": made}
    assert talk.post(f"/{conversation}/items", {"items": [copy]}).status == 200
    small = dumps({"items": [said("é" * 40_000)] * 3}, ensure_ascii=False).encode()
    assert talk.post(f"/{conversation}/items", small).status == 200
    before = talk.count()
    for text in ("x" * MOST_BYTES, "é" * (MOST_BYTES // 6)):
        answer = talk.post(f"/{conversation}/items", dumps({"items": [said(text)]}, ensure_ascii=False).encode())
        assert answer.status == 413
        assert answer.error["message"] == f"the items take more than {MOST_BYTES} bytes; upload large contents as files"
    for path, items in ((f"/{conversation}/items", [copy, copy]), ("", [copy, said("x" * 10_000)])):
        answer = talk.post(path, {"items": items})
        assert answer.status == 413
        assert answer.error["message"] == f"the items take more than {MOST_BYTES} bytes; upload large contents as files"
    assert talk.count() == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"items": [], "items": [1]}', 400),
        (b'{"items": [{"role": "user", "role": "system", "content": "x"}]}', 400),
        (b'{"metadata": {"a": "\\ud800"}}', 400),
        (b'{"metadata": {"a": NaN}}', 400),
        (b'{"items": ' + b"[" * 100 + b"]" * 100 + b"}", 400),
    ],
)
def test_a_body_that_is_none_is_refused(talk: Talking, body: bytes, status: int) -> None:
    before = talk.count()
    assert talk.post("", body).status == status
    assert talk.count() == before


@pytest.mark.parametrize("about", [[], ["Content-Length: 0"], ["Transfer-Encoding: chunked"], ["Content-Type: "]])
def test_a_conversation_needs_no_body(talk: Talking, about: list[str]) -> None:
    end = "0\r\n\r\n" if "Transfer-Encoding: chunked" in about else ""
    lines = ["HTTP/1.1", "Host: here", ALICE, *about, "", end]
    answer = parsed(talk.house.address.exchange(f"POST {CONVERSATIONS} {CRLF.join(lines)}".encode()))
    assert (answer.status, answer.json["metadata"]) == (200, {})
    path = f"{CONVERSATIONS}/{answer.json['id']}"
    update = parsed(talk.house.address.exchange(f"POST {path} {CRLF.join(lines)}".encode()))
    assert (update.status, update.error["param"]) == (400, "metadata")


@pytest.mark.parametrize(
    "about", ["Content-Length: 2\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
)
def test_a_body_says_that_it_is_json(talk: Talking, about: str) -> None:
    before = talk.count()
    request = f"POST {CONVERSATIONS} HTTP/1.1\r\nHost: here\r\n{ALICE}\r\n{about}"
    assert parsed(talk.house.address.exchange(request.encode())).status == 415
    assert talk.count() == before


def test_a_nul_in_an_item_is_a_character_like_any_other(talk: Talking) -> None:
    conversation = talk.made()
    [made] = talk.added(conversation, "a\0b\u2028c")
    assert talk.get(f"/{conversation}/items/{made}").json["content"][0]["text"] == "a\0b\u2028c"
    assert talk.get(f"/{conversation}", ALICE).status == 200
