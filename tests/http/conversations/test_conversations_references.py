"""`item_reference`: both the item and its conversation must be readable, whichever of the two is closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import BOB
from tests.support.conversations_server import NO_ITEM, Talking, said, talking

OPEN_ITEMS = """\
        - permit: {actions: [read], resource: "sql_record::conversation_items::*"}
        - permit: {actions: [read, update, delete]}
          when: user is owner
        - permit: {actions: [create]}
"""
OPEN_CONVERSATIONS = """\
        - permit: {actions: [read], resource: "sql_record::openai_conversations::*"}
        - permit: {actions: [read, update, delete]}
          when: user is owner
        - permit: {actions: [create]}
"""


@pytest.fixture(scope="module", params=[OPEN_ITEMS, OPEN_CONVERSATIONS], ids=["open items", "open conversations"])
def talk(
    opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Talking]:
    with talking(opa_binary, tmp_path_factory.mktemp("references"), policy=request.param) as running:
        yield running


def test_one_readable_half_is_not_enough_to_copy(talk: Talking) -> None:
    [theirs] = talk.added(talk.made(BOB), "secret", caller=BOB)
    conversation, before = talk.made(), talk.count()
    for path in ("", f"/{conversation}/items"):
        foreign, missing = (
            talk.post(path, {"items": [said("x"), {"type": "item_reference", "id": identity}]})
            for identity in (theirs, NO_ITEM)
        )
        assert (foreign.status, foreign.error["code"], foreign.error["param"]) == (404, "not_found", "items[1].id")
        assert foreign.body.replace(theirs.encode(), NO_ITEM.encode()) == missing.body
        assert b"secret" not in foreign.body
    assert talk.count() == before


def test_ones_own_item_is_copied_under_either_policy(talk: Talking) -> None:
    [mine] = talk.added(talk.made(), "mine")
    [copy] = talk.added(talk.made(), {"type": "item_reference", "id": mine})
    rows = talk.rows("SELECT owner_principal FROM conversation_items WHERE id = '" + copy + "'")  # noqa: S608 - an id of the server's
    assert rows == [("alice",)]


def test_an_expired_file_is_a_missing_one(talk: Talking) -> None:
    file, conversation = talk.file(), talk.made()
    item = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_file", "file_id": file}, {"type": "input_text", "text": "read it"}],
    }
    talk.added(conversation, item)
    talk.rows(f"UPDATE openai_files SET expires_at = 1 WHERE id = '{file}'")  # noqa: S608 - an id of the server's
    missing_file = "file-" + "0" * 48
    for path in ("", f"/{conversation}/items"):
        expired, missing = (
            talk.post(path, {"items": [{**item, "content": [{"type": "input_file", "file_id": identity}]}]})
            for identity in (file, missing_file)
        )
        assert (expired.status, expired.error["param"]) == (404, "items[0].content[0].file_id")
        assert expired.body.replace(file.encode(), missing_file.encode()) == missing.body
