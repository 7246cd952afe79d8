"""C1 of the specification as printed: its `vector_io` and `agents` at work, and after a restart."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import openai
import pytest

from tests.support.application import ByToken
from tests.support.failing_provider import upstream
from tests.support.real_policy import decided

C1 = (Path(__file__).parents[2] / "unit" / "config" / "spec" / "c1.yaml").read_text(encoding="utf-8")


@contextmanager
def served(opa: Path, folder: Path, environ: Mapping[str, str]) -> Iterator[tuple[openai.OpenAI, openai.OpenAI]]:
    """Two callers of a server of the printed file."""
    folder.mkdir()
    with decided(C1, opa, folder, authenticator=ByToken(), environ=environ) as house:
        url = f"{house.address.url}/v1"
        with (
            openai.OpenAI(base_url=url, api_key="alice", max_retries=0) as alice,
            openai.OpenAI(base_url=url, api_key="bob", max_retries=0) as bob,
        ):
            yield alice, bob


def test_stores_and_agents_work_as_printed_and_go_on_where_they_stopped(
    opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with upstream() as ollama:
        environ = {"INFERENCE_MODEL": "llama3.2", "OLLAMA_URL": ollama.url}
        with served(opa_binary, tmp_path / "first", environ) as (alice, bob):
            store = alice.vector_stores.create(name="doors").id
            taken = alice.vector_stores.files.upload_and_poll(
                vector_store_id=store, file=("doors.txt", b"the red door leads to the garden")
            )
            assert (taken.status, taken.last_error) == ("completed", None)
            first = alice.responses.create(model="ollama/llama3.2", input="hello")
            talk = alice.conversations.create().id
            alice.responses.create(model="llama3.2", input="hello", conversation=talk)
            with pytest.raises(openai.NotFoundError):
                bob.responses.create(model="llama3.2", input="and I?", previous_response_id=first.id)
        folder = tmp_path / "home" / ".llama" / "distributions" / "ollama"
        assert rows(folder / "sqlstore.db", "responses") == 2
        assert rows(folder / "sqlstore.db", "conversation_items") == 2
        assert b"the red door" in (folder / "faiss_store.db").read_bytes()
        with served(opa_binary, tmp_path / "second", environ) as (alice, bob):
            (found,) = alice.vector_stores.search(store, query="where is the garden?").data
            assert (found.filename, found.content[0].text) == ("doors.txt", "the red door leads to the garden")
            alice.responses.create(model="llama3.2", input="again", previous_response_id=first.id)
            assert [each["role"] for each in ollama.body["messages"]] == ["user", "assistant", "user"]
            assert len(alice.conversations.items.list(talk).data) == 2
            for asked in (
                lambda: bob.vector_stores.search(store, query="garden"),
                lambda: bob.responses.retrieve(first.id),
                lambda: bob.conversations.items.list(talk),
            ):
                with pytest.raises(openai.NotFoundError):
                    asked()


def rows(file: Path, table: str) -> int:
    with closing(sqlite3.connect(file)) as connection:
        (count,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608 - a name of ours
    return int(count)
