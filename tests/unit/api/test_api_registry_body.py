"""Bodies that register something: a NUL gets in nowhere, and a name is the same in a path."""

from __future__ import annotations

from json import dumps
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from server.api.registry.body import identifier, read_benchmark, read_dataset, read_model, read_shield
from server.http.edge import SLASHED_IDS, normalized
from server.json_input.body_parser import BodyCheck
from server.json_input.strict import InvalidJson, Json, parse_json

DATASET: Json = {"purpose": "eval/messages-answer", "source": {"type": "uri", "uri": "u"}}
BENCHMARK: Json = {"benchmark_id": "b", "dataset_id": "d", "scoring_functions": []}


@pytest.mark.parametrize(
    ("look", "body", "member"),
    [
        (read_shield, {"shield_id": "s"}, "params"),
        (read_model, {"model_id": "m"}, "metadata"),
        (read_dataset, DATASET, "metadata"),
        (read_benchmark, BENCHMARK, "metadata"),
    ],
)
@pytest.mark.parametrize(
    "value",
    [{"a": "x\0"}, {"a\0": 1}, {"a": {"b\0": 1}}, {"a": [1, {"b": [{"\0": None}]}]}, {"a": ["\0"]}],
)
def test_no_object_holds_a_nul(look: BodyCheck, body: Json, member: str, value: Any) -> None:
    with pytest.raises(InvalidJson) as refused:
        look(parse_json(dumps(body | {member: value}).encode()))
    assert (refused.value.param, refused.value.message) == (member, f"`{member}` holds a NUL")


def test_what_looks_like_one_is_kept() -> None:
    params = {"a\\0": "\\u0000", "b": [{"c": "0"}]}
    assert read_shield(parse_json(dumps({"shield_id": "s", "params": params}).encode()))["described"] == {
        "params": params
    }


ODD = st.sampled_from(
    ["/", "//", ".", "..", "%", "%2", "%2F", "%25", "\\", " ", "\t", "\x7f", "\u2028", "\u202e", "?", "#"]
)


@settings(max_examples=600, derandomize=True, database=None, deadline=None)
@given(st.lists(ODD | st.text(max_size=4), max_size=6).map("".join))
def test_every_name_that_is_accepted_is_the_same_in_a_path(name: str) -> None:
    assume(all(not "\ud800" <= character <= "\udfff" for character in name))
    try:
        identifier(name, "name")
    except InvalidJson:
        return
    for prefix in SLASHED_IDS:
        for safe in ("", "/"):
            assert normalized((prefix + quote(name, safe=safe)).encode()) == prefix + name
