"""Chats that name files by `file_id`: what reaches the provider, what is stored, and what is refused."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from server.api.chat import files
from tests.support.callers import ALICE
from tests.support.chat_files_server import Reading, named, reading, text
from tests.support.relay_server import ANSWER, CHATS, DONE, event, streamed, whole
from tests.support.scripted_provider import sending


@pytest.fixture(scope="module")
def server(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    with reading(opa_binary, tmp_path_factory.mktemp("parts")) as running:
        yield running


def data_url(content: bytes, kind: str = "text/plain") -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"


@pytest.mark.parametrize("size", [1, 2, 3, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 700_001])
def test_the_bytes_of_a_file_reach_the_provider_as_they_are(server: Reading, size: int) -> None:
    content = bytes(number * 7 % 251 for number in range(size))
    part = server.chat(text("read"), named(server.file(content)), temperature=0.5)
    assert part.status == 200, part.body
    sent = server.sent
    assert (sent["model"], sent["temperature"]) == ("far-m", 0.5)
    [words, file] = sent["messages"][0]["content"]
    assert words == text("read")
    assert file == {"type": "file", "file": {"filename": "notes.txt", "file_data": data_url(content)}}


@pytest.mark.parametrize(
    ("filename", "kind", "expected"),
    [
        ("a.pdf", "text/plain", "application/pdf"),
        ("A.PDF", "application/octet-stream", "application/pdf"),
        ("a.unknown", "application/x-thing", "application/x-thing"),
        ("pdf", "no type", "application/pdf"),
        ("none", "no type", "application/octet-stream"),
    ],
)
def test_the_media_type_follows_the_name(server: Reading, filename: str, kind: str, expected: str) -> None:
    assert server.chat(named(server.file(b"x", filename=filename, kind=kind))).status == 200
    file = server.sent["messages"][0]["content"][0]["file"]
    assert file == {"filename": filename, "file_data": data_url(b"x", expected)}


def test_a_body_is_the_callers_own_around_its_files(server: Reading) -> None:
    one, other = server.file(b"one"), server.file(b"other", filename="größe.md")
    told = dumps(f'"file_id": "{one}" grüße')
    raw = (
        f'{{"x": 0, "messages" : [ {{"role":"system","content":{told}}}, {{ "content" : [ '
        f'{{"file": {{"file_id" : "{other}", "filename": null, "file_data": null}} , "type":"file"}},'
        f'{{"type":"file","f\\u0069le":{{"file_\\u0069d":"{one}","filename":"my \\"name\\""}}}} , '
        f'{{"type":"text","text":"{other}"}}], "role" : "user"}} ], "seed": 1e2, "model":"own"}}'
    )
    server.far.asked.clear()
    answer = server.house.address.post(CHATS, raw.replace('"x": 0, ', "").encode(), ALICE)
    assert answer.status == 200, answer.body
    body = server.far.asked[0][1].decode()
    assert '{"messages" : [ {"role":"system","content":' + told + '}, { "content" : [ {"file": {' in body
    assert body.endswith(f'"text":"{other}"}}], "role" : "user"}} ], "seed": 1e2, "model":"own-m"}}')
    parts = loads(body)["messages"][1]["content"]
    assert parts[0]["file"] == {"filename": "größe.md", "file_data": data_url(b"other", "text/markdown")}
    assert parts[1]["file"] == {"filename": 'my "name"', "file_data": data_url(b"one")}


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant", "tool"])
def test_a_file_may_stand_in_any_message_and_more_than_once(server: Reading, role: str) -> None:
    part = named(server.file(b"again"))
    answer = server.chat(messages=[{"role": "user", "content": [part]}, {"role": role, "content": [part, part]}])
    assert answer.status == 200
    expected = {"filename": "notes.txt", "file_data": data_url(b"again")}
    assert [each["file"] for message in server.sent["messages"] for each in message["content"]] == [expected] * 3
    assert server.questions(answer) == [part["file"]["file_id"]]


def test_a_stream_has_its_files_too(server: Reading) -> None:
    file = server.file(b"streamed")
    chunk = {**ANSWER, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "yes"}}]}
    server.far.play(sending(streamed(event(chunk), DONE)))
    try:
        answer = server.chat(named(file), stream=True)
    finally:
        server.far.play(sending(whole(ANSWER)))
    assert answer.status == 200
    assert answer.body.endswith(DONE)
    assert server.sent["messages"][0]["content"][0]["file"]["file_data"] == data_url(b"streamed")


def test_what_is_stored_names_the_file(server: Reading) -> None:
    content = b"not to be stored anywhere else"
    part = named(server.file(content))
    answer = server.chat(text("keep"), part, store=True)
    assert answer.status == 200
    assert server.sent["messages"][0]["content"][1]["file"]["file_data"] == data_url(content)
    stored = server.house.address.get(f"{CHATS}/{answer.json['id']}", ALICE).json
    assert stored["input_messages"][0]["content"] == [text("keep"), part]
    kept = server.rows("SELECT body FROM chat_completions UNION ALL SELECT body FROM chat_completions_messages")
    assert kept
    assert not any(b64encode(content).decode()[:20] in str(row) for row in kept)


def test_the_echo_tells_the_name_of_a_file(server: Reading) -> None:
    answer = server.chat(text("read"), named(server.file()), model="echo")
    assert answer.json["choices"][0]["message"]["content"] == "echo: read [notes.txt]"


def test_the_openai_client_sends_a_file_by_its_id(server: Reading) -> None:
    with OpenAI(base_url=f"{server.house.address.url}/v1", api_key="alice", max_retries=0) as client:
        made = client.files.create(file=("report.pdf", b"%PDF-1.4"), purpose="user_data")
        server.far.asked.clear()
        reply = client.chat.completions.create(
            model="far",
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "what is in it?"},
                        {"type": "file", "file": {"file_id": made.id}},
                    ],
                }
            ],
        )
    assert reply.choices[0].message.content == "yes"
    file = server.sent["messages"][0]["content"][1]["file"]
    assert file == {"filename": "report.pdf", "file_data": data_url(b"%PDF-1.4", "application/pdf")}


def test_files_that_are_too_large_are_refused(server: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_OF_ONE", 10)
    monkeypatch.setattr(files, "MOST_OF_ALL", 25)
    fits, large = server.file(b"x" * 10), server.file(b"x" * 11)
    assert server.chat(named(fits), named(fits)).status == 200
    answer = server.chat(named(fits), named(large))
    assert (answer.status, answer.error["param"]) == (413, "messages[0].content[1].file.file_id")
    answer = server.chat(*[named(fits)] * 3)
    assert (answer.status, answer.error["param"]) == (413, "messages[0].content[2].file.file_id")
    assert server.far.asked == []


@pytest.mark.parametrize(
    ("model", "part", "kind"),
    [
        ("claude", named("file-1"), "file"),
        ("claude", {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk=", "filename": "a"}}, "file"),
        ("claude", {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}, "input_audio"),
        ("gpt", {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk=", "filename": "a"}}, "file"),
    ],
)
def test_a_provider_that_would_drop_a_part_is_not_asked(server: Reading, model: str, part: Any, kind: str) -> None:
    answer = server.chat(text("read"), part, model=model)
    assert (answer.status, answer.error["code"]) == (400, "unsupported_value")
    assert answer.error["param"] == "messages[0].content[1]"
    assert f"`{kind}`" in answer.error["message"]
    assert server.far.asked == []


def test_ids_of_the_providers_own_files_pass_where_its_account_is_one_callers(server: Reading) -> None:
    theirs = named("file-6F2ksmvXxt4VdoqmHRw6kL")
    assert server.chat(theirs, named(server.file(b"ours")), model="own").status == 200
    [first, second] = server.sent["messages"][0]["content"]
    assert first == theirs
    assert second["file"]["file_data"] == data_url(b"ours")
    assert server.chat(theirs).error["param"] == "messages[0].content[0].file.file_id"
