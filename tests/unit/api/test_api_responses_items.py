"""Items that are kept in one text: they come back as they were, under their ids."""

from __future__ import annotations

from json import loads

from hypothesis import given
from hypothesis import strategies as st

from server.api.conversations.stored_items import stored_item
from server.api.responses.item_list import ItemList
from server.api.responses.store import body_of, shown_response
from server.storage.records.record import Draft

TEXTS = st.lists(st.text(max_size=20), max_size=5)


def listed(texts: list[str]) -> ItemList:
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]} for text in texts]
    return ItemList([f"msg_{place}" for place in range(len(items))], [stored_item(item) for item in items])


@given(TEXTS)
def test_what_was_kept_comes_back(texts: list[str]) -> None:
    items = listed(texts)
    kept = items.encoded()
    assert isinstance(loads(kept), list)
    found = ItemList.decoded(kept)
    assert (found.pairs, found.size) == (items.pairs, items.size)
    shown = [loads(text) for text in found.shown(frozenset())]
    assert [(item["id"], item["content"][0]["text"]) for item in shown] == [
        (f"msg_{place}", text) for place, text in enumerate(texts)
    ]
    assert [loads(bytes(text))["content"][0]["text"] for text in found.plain()] == texts


@given(TEXTS, TEXTS)
def test_lists_follow_each_other(one: list[str], other: list[str]) -> None:
    both = listed(one) + listed(other)
    assert (len(both), both.pairs) == (len(one) + len(other), listed(one).pairs + listed(other).pairs)


def test_no_member_of_the_callers_is_taken_for_the_metadata() -> None:
    tool = {"name": "f", "parameters": {"type": "object", "metadata": {"a": ',"metadata":{'}}}
    shown = {"id": "resp_1", "model": "m", "tools": [tool], "metadata": {"a": ',"metadata":{'}, "output": []}
    record = Draft("resp_1", body_of(shown)).owned_by(None)
    assert loads(b"".join(shown_response(record, []))) == shown
