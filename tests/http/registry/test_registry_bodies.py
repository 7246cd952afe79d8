"""Bodies that register something: which names and values are taken, and how the others are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.http.edge import SLASHED_IDS
from tests.support.callers import ADMIN, ALICE, STRANGER
from tests.support.registry_server import KINDS, Registry, registry


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(opa_binary, tmp_path_factory.mktemp("bodies")) as running:
        yield running


NAMES = {
    "empty": "",
    "a blank": " ",
    "a blank end": "a ",
    "a slash first": "/a",
    "a slash last": "a/",
    "an empty segment": "a//b",
    "a dot": ".",
    "two dots": "a/../b",
    "a control character": "a\nb",
    "a NUL": "a\0b",
    "a line separator": "a\u2028b",
    "a change of direction": "a\u202eb",
    "another blank": "a\u00a0b",
    "no character": "a\uffffb",
    "a backslash": "a\\b",
    "an escape": "a%2Fb",
    "257 bytes": "x" * 257,
    "258 bytes in 86 characters": "€" * 86,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_that_no_path_holds_is_refused(kept: Registry, kind: str, name: str) -> None:
    refused = kept.register(kind, name)
    assert refused.status == 400
    assert refused.error["param"] == KINDS[kind].member


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_name_is_registered_and_found(kept: Registry, kind: str) -> None:
    name = kind + "€" * 75
    made = kept.register(kind, name + "x" * (256 - len(name.encode())))
    assert made.status == 200
    assert kept.get(kind, made.json["id"]).json == made.json
    assert kept.get(kind, made.json["id"], method="DELETE").status == 200


def test_names_of_every_kind_may_hold_slashes() -> None:
    assert {f"{kind.path}/" for kind in KINDS.values()} | {"/v1/tools/"} == {*SLASHED_IDS}


LARGE = {"a": "x" * 17_000}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("model", {"metadata": LARGE}),
        ("shield", {"params": LARGE}),
        ("dataset", {"source": {"type": "rows", "rows": [LARGE] * 5}}),
    ],
)
def test_too_much_is_refused(kept: Registry, kind: str, more: dict[str, object]) -> None:
    refused = kept.register(kind, "too-much", **more)
    assert (refused.status, refused.error["message"]) == (413, "what is registered has at most 16384 bytes")
    assert "too-much" not in str(kept.listed(kind, ADMIN))


WRONG = [
    ("shield", {"params": []}, "params"),
    ("shield", {"params": {"a": "b\0c"}}, "params"),
    ("shield", {"provider_id": 1}, "provider_id"),
    ("shield", {"provider_shield_id": "a//b"}, "provider_shield_id"),
    ("vector_store", {"embedding_dimension": 0}, "embedding_dimension"),
    ("vector_store", {"embedding_dimension": True}, "embedding_dimension"),
    ("vector_store", {"embedding_model": None}, "embedding_model"),
    ("tool_group", {"mcp_endpoint": {}}, "mcp_endpoint.uri"),
    ("tool_group", {"mcp_endpoint": {"uri": "http://a", "b": 1}}, "mcp_endpoint.b"),
    ("dataset", {"purpose": "all"}, "purpose"),
    ("dataset", {"source": {"type": "uri"}}, "source.uri"),
    ("dataset", {"source": {"type": "rows", "rows": {}}}, "source.rows"),
    ("dataset", {"source": {"rows": []}}, "source.type"),
    ("dataset", {"metadata": {str(number): 1 for number in range(17)}}, "metadata"),
    ("dataset", {"metadata": {"x" * 65: 1}}, "metadata"),
    ("dataset", {"metadata": {"a": {"b": ["\0"]}}}, "metadata"),
    ("scoring_function", {"return_type": "number"}, "return_type"),
    ("scoring_function", {"return_type": {"type": "ether"}}, "return_type.type"),
    ("scoring_function", {"description": None}, "description"),
    ("benchmark", {"scoring_functions": "f"}, "scoring_functions"),
    ("benchmark", {"scoring_functions": [1]}, "scoring_functions[0]"),
    ("benchmark", {"dataset_id": None}, "dataset_id"),
    ("model", {"model_type": "rerank"}, "model_type"),
    ("model", {"provider_model_id": ""}, "provider_model_id"),
    ("model", {"metadata": "x"}, "metadata"),
]


@pytest.mark.parametrize(("kind", "change", "param"), WRONG)
def test_what_is_wrong_is_named_by_its_place(kept: Registry, kind: str, change: dict[str, object], param: str) -> None:
    refused = kept.register(kind, "wrong", **change)
    assert (refused.status, refused.error["param"]) == (400, param)
    # What is wrong with a body is told to nobody who may not use the route.
    assert kept.register(kind, "wrong", STRANGER, **change).status == 403


@pytest.mark.parametrize("kind", KINDS)
def test_null_is_the_same_as_absent(kept: Registry, kind: str) -> None:
    shown = kept.register(kind, f"with-null-{kind}", **{_own(kind): None}).json
    assert shown["provider_resource_id"] == f"with-null-{kind}"


def _own(kind: str) -> str:
    return "provider_model_id" if kind == "model" else f"provider_{KINDS[kind].member}"


def test_a_dataset_without_a_name_gets_one_that_can_not_be_guessed(kept: Registry) -> None:
    body = {"purpose": "eval/question-answer", "source": {"type": "uri", "uri": "https://example.com/a.jsonl"}}
    made = [kept.post("/v1/datasets", body, ALICE).json for _ in range(2)]
    assert made[0]["id"] != made[1]["id"]
    assert len(made[0]["id"]) == len("dataset-") + 48
    assert made[0]["source"] == body["source"]
    assert kept.get("dataset", made[0]["id"]).json == made[0]


@pytest.mark.parametrize("kind", KINDS)
def test_an_escaped_slash_stands_for_itself_in_a_name(kept: Registry, kind: str) -> None:
    made = kept.register(kind, f"a/b/{kind}").json
    path = KINDS[kind].path
    for target in (f"{path}/{made['id']}", f"{path}/{made['id'].replace('/', '%2F')}"):
        assert kept.house.address.get(target, ALICE).json == made
    beside = path.rpartition("/")
    assert kept.house.address.get(f"{beside[0]}%2F{beside[2]}/{made['id']}", ALICE).status == 400
