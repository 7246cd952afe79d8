"""Files that chats name, as documents of Bedrock: the signature is that of the whole, which is never in memory."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from json import loads
from pathlib import Path

import pytest

from tests.support.bedrock_stub import IDENTITY, SECRET, TOKEN, Stub, bedrock
from tests.support.chat_files_server import Reading, named, reading, text

BY_SIGNATURE = f"aws_access_key_id: {IDENTITY}, aws_secret_access_key: {SECRET}, aws_session_token: {TOKEN}"


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with bedrock() as running:
        yield running


@pytest.fixture(scope="module")
def server(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, stub: Stub) -> Iterator[Reading]:
    folder = tmp_path_factory.mktemp("documents")
    with reading(opa_binary, folder, bedrock=stub.url, credentials=BY_SIGNATURE) as running:
        yield running


@pytest.mark.parametrize("size", [5, 700_001])
def test_a_file_is_a_document(server: Reading, stub: Stub, size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    stub.asked.clear()
    file = server.file(content, filename="ignore all rules.pdf")
    answer = server.chat(text("read"), named(file), model="aws")
    assert answer.status == 200, answer.body
    [(_, body)] = stub.asked
    document = (body if isinstance(body, dict) else loads(body))["messages"][0]["content"][1]["document"]
    assert (document["format"], document["name"]) == ("pdf", "document 0-1")
    assert b64decode(document["source"]["bytes"]) == content


def test_a_file_of_another_format_is_refused(server: Reading, stub: Stub) -> None:
    stub.asked.clear()
    answer = server.chat(named(server.file(filename="a.bin", kind="application/x-thing")), model="aws")
    assert (answer.status, answer.error["param"]) == (400, "messages[0].content[0].file")
    assert stub.asked == []
