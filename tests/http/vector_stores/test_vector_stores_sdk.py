"""Vector stores as OpenAI's own SDK uses them: its polling, its pages and its errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.support.documents import epub, opendocument
from tests.support.vector_server import holding


@pytest.fixture(scope="module")
def sdk(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[openai.OpenAI, openai.OpenAI]]:
    """Two callers of one server."""
    with holding(opa_binary, tmp_path_factory.mktemp("sdk")) as kept:
        url = f"{kept.house.address.url}/v1"
        with (
            openai.OpenAI(base_url=url, api_key="alice", max_retries=0) as alice,
            openai.OpenAI(base_url=url, api_key="bob", max_retries=0) as bob,
        ):
            yield alice, bob


def test_a_file_is_uploaded_waited_for_and_found(sdk: tuple[openai.OpenAI, openai.OpenAI]) -> None:
    alice, bob = sdk
    store = alice.vector_stores.create(name="notes", expires_after={"anchor": "last_active_at", "days": 2})
    assert store.status == "completed"
    made = alice.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=("bicycle.txt", b"a blue bicycle"), attributes={"year": 2026}
    )
    assert (made.status, made.last_error) == ("completed", None)
    found = alice.vector_stores.search(store.id, query="a blue bicycle", max_num_results=3).data
    assert [(hit.file_id, hit.filename, hit.content[0].text) for hit in found] == [
        (made.id, "bicycle.txt", "a blue bicycle")
    ]
    assert found[0].score > 0.99
    nothing = alice.vector_stores.search(
        store.id, query="bicycle", filters={"type": "lt", "key": "year", "value": 2026}
    )
    assert nothing.data == []
    assert [part.text for part in alice.vector_stores.files.content(made.id, vector_store_id=store.id)] == [
        "a blue bicycle"
    ]
    updated = alice.vector_stores.files.update(made.id, vector_store_id=store.id, attributes={"year": 2025.0})
    assert updated.attributes == {"year": 2025.0}
    for asked in (
        lambda: bob.vector_stores.retrieve(store.id),
        lambda: bob.vector_stores.search(store.id, query="bicycle"),
        lambda: bob.vector_stores.files.create(vector_store_id=store.id, file_id=made.id),
    ):
        with pytest.raises(openai.NotFoundError):
            asked()
    assert alice.vector_stores.files.delete(made.id, vector_store_id=store.id).deleted
    assert alice.vector_stores.update(store.id, name="empty").file_counts.total == 0
    assert alice.vector_stores.delete(store.id).deleted


FILES = {
    "of a charset": (("a.txt", b"caf\xe9", "text/plain; charset=ISO-8859-1"), "caf\u00e9"),
    "of a charset in quotes": (("a.csv", b"\xf0\xd2\xc9", 'text/csv; x=y; charset="KOI8-R"; z'), "\u041f\u0440\u0438"),
    "RTF": (("a.rtf", b"{\\rtf1 caf\\'e9}", "application/rtf"), "caf\u00e9"),
    "OpenDocument": (("a.odt", opendocument("text", "<text:p>caf\u00e9</text:p>"), "application/zip"), "caf\u00e9"),
    "EPUB": (("a.epub", epub({"a.xhtml": "<html>caf\u00e9</html>"}), "application/epub+zip"), "caf\u00e9"),
    "of no charset": (("a.txt", b"caf\xe9", "text/plain"), None),
    "of an odd charset": (("a.txt", b"caf\xe9", "text/plain; charset=latin 1"), None),
    "of an unknown charset": (("a.txt", b"coffee", "text/plain; charset=x-none"), None),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_in_its_format_and_charset(name: str, sdk: tuple[openai.OpenAI, openai.OpenAI]) -> None:
    alice, _ = sdk
    file, text = FILES[name]
    store = alice.vector_stores.create()
    made = alice.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=file)
    if text is None:
        assert made.last_error is not None
        assert (made.status, made.last_error.code) == ("failed", "unsupported_file")
        assert "UTF-8" in made.last_error.message
    else:
        assert [part.text for part in alice.vector_stores.files.content(made.id, vector_store_id=store.id)] == [text]


def test_batches_are_waited_for_and_paged_through(sdk: tuple[openai.OpenAI, openai.OpenAI]) -> None:
    alice, _ = sdk
    store = alice.vector_stores.create()
    files = [alice.files.create(file=(f"{n}.txt", f"text {n}".encode()), purpose="assistants").id for n in range(5)]
    batch = alice.vector_stores.file_batches.create_and_poll(store.id, file_ids=files)
    assert (batch.status, batch.file_counts.completed, batch.file_counts.total) == ("completed", 5, 5)
    listed = alice.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, limit=2, order="asc")
    assert [file.id for file in listed] == files
    assert {file.id for file in alice.vector_stores.files.list(store.id, limit=3, filter="completed")} == {*files}
    made = [alice.vector_stores.create(name=str(n)).id for n in range(3)]
    assert [each.id for each in alice.vector_stores.list(limit=2)][:3] == made[::-1]
    uploaded = alice.vector_stores.file_batches.upload_and_poll(store.id, files=[("more.txt", b"more text")])
    assert uploaded.file_counts.completed == 1
