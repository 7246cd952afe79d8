"""Requests for embeddings of a provider: forms of input, other members, and their refusals."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps
from typing import Any

import pytest

from tests.support.relay_server import Relaying, relaying
from tests.support.relayed_embeddings import MODELS, PATH, VECTORS, answering, embed, entries, vectors


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    with relaying(tmp_path_factory.mktemp("embeddings"), models=MODELS) as running:
        yield running


@pytest.mark.parametrize(
    ("given", "count"),
    [("a", 1), (["a", "b"], 2), ([100, 201], 1), ([[100, 201], [5]], 2), ([0, 2**31 - 1], 1), (["a"] * 4, 4)],
)
def test_each_form_of_input_is_passed_on_as_it_came(server: Relaying, given: Any, count: int) -> None:
    server.answers(answering(entries(*range(count))))
    assert vectors(embed(server, given)) == VECTORS[:count]
    assert server.body["input"] == given


@pytest.mark.parametrize(
    "given",
    [
        [],
        "",
        ["a", ""],
        [[]],
        [[1], []],
        [1.5],
        [1, 1.5],
        ["a", 1],
        [1, "a"],
        [["a"]],
        [[1], ["a"]],
        [[1], 2],
        [[[1]]],
        [True],
        [1, True],
        [[1, False]],
        [-1],
        [[1], [-1]],
        [2**31],
        [[9007199254740993]],
        [None],
        {"a": 1},
        5,
        True,
        None,
        [{}],
        ["a"] * 2049,
        [[1]] * 2049,
    ],
    ids=lambda given: dumps(given)[:20],
)
def test_anything_else_is_refused_before_the_provider_is_asked(server: Relaying, given: Any) -> None:
    server.answers(answering(entries(0)))
    answer = embed(server, given)
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, "input", "invalid_value")
    assert server.far.asked == []


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"encoding_format": "Float"}, "encoding_format"),
        ({"encoding_format": 5}, "encoding_format"),
        ({"encoding_format": ["float"]}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": -1}, "dimensions"),
        ({"dimensions": 1.5}, "dimensions"),
        ({"dimensions": "3"}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"stream": True}, "stream"),
        ({"Input": "b"}, "Input"),
        ({"user": 5}, "user"),
        ({"fallbacks": ["other"]}, "fallbacks"),
        ({"models": ["other"]}, "models"),
        ({"a_new_name": 1}, "a_new_name"),
        ({"messages": [{"role": "user", "content": "b"}]}, "messages"),
        ({"prompt": "b"}, "prompt"),
    ],
)
def test_other_members_are_checked(server: Relaying, more: dict[str, Any], param: str) -> None:
    server.answers(answering(entries(0)))
    answer = embed(server, "a", **more)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert server.far.asked == []


def test_a_body_without_input_or_model_is_refused(server: Relaying) -> None:
    for body, param in (({"model": "p/v"}, "input"), ({"input": "a"}, "model")):
        answer = server.address.post(PATH, body, "Authorization: Bearer alice")
        assert (answer.status, answer.error["param"], answer.error["code"]) == (
            400,
            param,
            "missing_required_parameter",
        )


def test_a_user_is_a_pseudonym_of_the_caller(server: Relaying) -> None:
    server.answers(answering(entries(0)))
    names = set()
    for caller in ("alice", "alice", "bob"):
        body = {"model": "p/v", "input": "a", "user": "me", "service_tier": "priority"}
        assert server.address.post(PATH, body, f"Authorization: Bearer {caller}").status == 200
        names.add(server.body["user"])
        assert "service_tier" not in server.body
    assert len(names) == 2
    assert "me" not in names
