"""A NUL, which PostgreSQL can't keep, gets in nowhere: neither in a value nor in a name, however deep."""

from __future__ import annotations

from json import dumps
from typing import Any

import pytest

from server.api.registry.body import read_benchmark, read_dataset, read_model, read_shield
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
