"""No byte of a file reaches a provider for a caller who may not read it, wherever a chat names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.inference.file_parts import MOST_NAMED
from tests.support.callers import ALICE, BOB
from tests.support.chat_files_server import NOBODYS, Reading, named, reading, text

SECRET = b"alice's own words"
PLACE = "messages[0].content[0].file.file_id"


@pytest.fixture(scope="module")
def server(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    with reading(opa_binary, tmp_path_factory.mktemp("secrecy")) as running:
        yield running


@pytest.fixture(scope="module")
def theirs(server: Reading) -> str:
    return server.file(SECRET)


@pytest.mark.parametrize("model", ["far", "own", "echo", "aws"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_unreadable_file_is_a_missing_one(server: Reading, theirs: str, model: str, stream: bool) -> None:
    foreign, missing = (
        server.chat(named(identity), caller=BOB, model=model, stream=stream, store=True)
        for identity in (theirs, NOBODYS)
    )
    assert (foreign.status, foreign.error["code"], foreign.error["param"]) == (404, "not_found", PLACE)
    assert foreign.body.replace(theirs.encode(), NOBODYS.encode()) == missing.body
    assert server.far.asked == []
    assert [len(server.questions(answer)) for answer in (foreign, missing)] == [1, 1]
    assert server.rows("SELECT count(*) FROM chat_completions WHERE owner_principal = 'bob'") == [(0,)]


def test_one_readable_file_opens_no_other(server: Reading, theirs: str) -> None:
    mine = named(server.file(b"bob's", caller=BOB))
    for parts, place in (([mine, named(theirs)], 1), ([named(theirs), mine], 0), ([mine, named(NOBODYS)], 1)):
        answer = server.chat(*parts, caller=BOB)
        assert (answer.status, answer.error["param"]) == (404, f"messages[0].content[{place}].file.file_id")
        assert server.far.asked == []


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant", "tool", "function"])
def test_no_role_reads_for_another(server: Reading, theirs: str, role: str) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": role, "content": [text("x"), named(theirs)]}]
    answer = server.chat(messages=messages, caller=BOB)
    assert (answer.status, answer.error["param"]) == (404, "messages[1].content[1].file.file_id")
    assert server.far.asked == []


HIDDEN: list[Any] = [
    {"type": "file", "file": {"fileId": "ID", "file_data": "x"}},
    {"type": "file", "file": {"FILE_ID": "ID"}},
    {"type": "file", "file": {"file-id": "ID"}},
    {"type": "file", "file_id": "ID"},
    {"type": "file", "file": {"file_data": "x"}, "file_id": "ID"},
    {"type": "File", "file": {"file_id": "ID"}},
    {"type": "file", "File": {"file_id": "ID"}},
    {"type": "file", "file": [{"file_id": "ID"}]},
    {"type": "input_file", "file_id": "ID"},
    {"type": "input_image", "file_id": "ID"},
    {"type": "image_url", "image_url": {"file_id": "ID"}},
    {"type": "image_file", "image_file": {"file_id": "ID"}},
    {"type": "input_audio", "input_audio": {"file_id": "ID"}},
    {"type": "text", "text": "x", "file": {"file_id": "ID"}},
    {"type": "text", "text": "x", "attachments": [{"file_id": "ID"}]},
    {"type": "tool_result", "content": [{"type": "file", "file": {"file_id": "ID"}}]},
    {"type": "file", "file": {"file": {"file_id": "ID"}}},
    {"type": "document", "source": {"deep": [[{"file_ids": ["ID"]}]]}},
    [{"type": "file", "file": {"file_id": "ID"}}],
]


def _naming(value: Any, identity: str) -> Any:
    match value:
        case "ID":
            return identity
        case dict():
            return {name: _naming(inner, identity) for name, inner in value.items()}
        case list():
            return [_naming(inner, identity) for inner in value]
    return value


@pytest.mark.parametrize("number", range(len(HIDDEN)))
def test_a_file_is_named_in_one_place_and_in_no_other(server: Reading, theirs: str, number: int) -> None:
    for caller in (ALICE, BOB):
        answer = server.chat(_naming(HIDDEN[number], theirs), caller=caller)
        assert (answer.status, answer.error["param"], answer.error["code"]) == (400, "file_id", "unsupported_parameter")
        assert server.far.asked == []


@pytest.mark.parametrize(
    "more",
    [
        {"messages": [{"role": "user", "content": "x", "file_id": "ID"}]},
        {"messages": [{"role": "user", "content": {"type": "file", "file": {"file_id": "ID"}}}]},
        {"messages": [{"role": "user", "content": "x", "attachments": [{"file_id": "ID"}]}]},
        {"prediction": {"type": "content", "content": [{"type": "file", "file": {"file_id": "ID"}}]}},
        {"messages": [{"role": "user", "content": "größe" * 20_000, "fIlE\u005fiD": "ID"}]},
    ],
)
def test_nothing_beside_the_parts_names_one(server: Reading, theirs: str, more: Any) -> None:
    answer = server.chat(text("x"), caller=BOB, **_naming(more, theirs))
    assert (answer.status, answer.error["param"]) == (400, "file_id")
    assert server.far.asked == []


def test_a_part_that_names_a_file_names_no_other_beside_it(server: Reading, theirs: str) -> None:
    mine = server.file(b"bob's", caller=BOB)
    answer = server.chat({**named(mine), "also": {"file_id": theirs}}, caller=BOB)
    assert (answer.status, answer.error["param"]) == (400, "file_id")
    assert server.far.asked == []


def test_arguments_of_tools_are_named_as_the_caller_likes(server: Reading, theirs: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"file_id": theirs}}}
    messages = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "user", "content": "x"}]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"file_id": {}}}}}
    assert server.chat(messages=messages, tools=[tool], caller=BOB).status == 200
    assert server.sent["messages"] == messages


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ({"file_id": None}, "file_id"),
        ({"file_id": ""}, "file_id"),
        ({"file_id": 5}, "file_id"),
        ({"file_id": ["ID"]}, "file_id"),
        ({"file_id": {"a": "ID"}}, "file_id"),
        ({"file_id": "x" * 129}, "file_id"),
        ({"file_id": "ID", "file_data": "x"}, "file_data"),
        ({"file_id": "ID", "fileId": "ID"}, "fileId"),
        ({"file_id": "ID", "format": "pdf"}, "format"),
        ({"file_id": "ID", "filename": 1}, "filename"),
        ({"file_id": "ID", "filename": "x" * 256}, "filename"),
    ],
)
def test_junk_in_a_part_is_told_at_its_place(server: Reading, theirs: str, file: Any, place: str) -> None:
    for caller in (ALICE, BOB):
        answer = server.chat({"type": "file", "file": _naming(file, theirs)}, caller=caller)
        assert (answer.status, answer.error["param"]) == (400, f"messages[0].content[0].file.{place}")
        assert server.far.asked == []


@pytest.mark.parametrize(
    "junk", ["file-\0", "../../etc/passwd", "' OR 1=1 --", "file-é", "%2e", "FILE", "file-{}/content", "\u202e", "*"]
)
def test_an_id_of_junk_is_a_missing_file(server: Reading, theirs: str, junk: str) -> None:
    answer = server.chat(named(junk.replace("FILE", theirs.upper()).replace("{}", theirs[5:])))
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "not_found", PLACE)
    assert server.far.asked == []


def test_many_names_are_many_questions_and_no_more_than_that(server: Reading, theirs: str) -> None:
    answer = server.chat(*[named(f"file-{number:048x}") for number in range(1000)], caller=BOB)
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, "messages", "invalid_value")
    assert server.questions(answer) == []
    many = [named(f"file-{number:048x}") for number in range(MOST_NAMED - 1)]
    answer = server.chat(*many, named(theirs), caller=BOB)
    assert (answer.status, len(server.questions(answer))) == (404, MOST_NAMED)
    answer = server.chat(*[named(theirs)] * MOST_NAMED, caller=BOB)
    assert (answer.status, server.questions(answer)) == (404, [theirs])
    assert server.far.asked == []


def test_an_expired_file_is_a_missing_one(server: Reading) -> None:
    file = server.file(SECRET)
    server.rows(f"UPDATE openai_files SET expires_at = 1 WHERE id = '{file}'")  # noqa: S608 - an id of the server's
    answer = server.chat(named(file))
    assert (answer.status, answer.error["param"]) == (404, PLACE)


def test_a_file_without_its_bytes_is_a_fault_of_the_server(server: Reading) -> None:
    file = server.file(SECRET)
    server.blob(file).unlink()
    answer = server.chat(named(file))
    assert (answer.status, answer.error["code"]) == (500, "server_error")
    file = server.file(SECRET)
    server.blob(file).write_bytes(SECRET + b"more")
    assert server.chat(named(file)).status == 500
    assert server.far.asked == []
