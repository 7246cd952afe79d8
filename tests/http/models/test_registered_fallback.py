"""Registered models that name others to answer in their place: which they may name, and what becomes of a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ALICE, BOB, READER
from tests.support.registry_server import CONFIG, Registry, registry, without_names

GONE = 'config: {url: "http://127.0.0.1:9", retries: 0, breaker: {failures: 1000}}'
TEXT = CONFIG.replace(
    "      - {provider_id: inner,",
    f"      - {{provider_id: gone, provider_type: remote::vllm, {GONE}}}\n      - {{provider_id: inner,",
)


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Registry]:
    with registry(opa_binary, tmp_path_factory.mktemp("fallback"), postgres, text=TEXT) as running:
        yield running


def answering(kept: Registry, model: str, caller: str = ALICE) -> Any:
    """The name of the model that answers."""
    answer = kept.chat(model, caller)
    return answer.json["model"] if answer.status == 200 else answer.status


def test_a_registered_model_may_name_others_which_are_not_shown(kept: Registry) -> None:
    kept.registered("model", provider_model_id="back-1")
    made = kept.register("model", "front", provider_id="gone", fallback=["echo/back-1", "open"])
    assert made.status == 200
    assert b"back-1" not in made.body + kept.get("model", "front").body + kept.house.address.get("/v1/models").body
    assert answering(kept, "front") == "echo/back-1"
    assert kept.chat("front", BOB).status == 404


def test_weights_may_name_the_model_itself(kept: Registry) -> None:
    made = kept.register("model", "split", weights={"split": 1, "open": 0})
    assert made.status == 200
    assert answering(kept, "split") == "echo/split"


@pytest.mark.parametrize("member", ["fallback", "weights"])
def test_a_model_that_may_not_be_read_is_as_unknown_as_one_that_there_is_not(kept: Registry, member: str) -> None:
    kept.register("model", f"of-bob-{member}", BOB)
    for hidden, missing in (("secret", "secrex"), (f"of-bob-{member}", f"of-box-{member}")):
        naming = {name: [name] if member == "fallback" else {name: 1} for name in (hidden, missing)}
        refused, unknown = (kept.register("model", "curious", **{member: naming[name]}) for name in naming)
        assert refused.status == 400
        assert refused.error["param"] == ("fallback[0]" if member == "fallback" else "weights")
        assert without_names(refused, hidden) == without_names(unknown, missing)
    assert kept.get("model", "curious").status == 404


WRONG: list[dict[str, Any]] = [
    {"fallback": "open"},
    {"fallback": [1]},
    {"fallback": ["open", "open"]},
    {"fallback": ["open", "echo/open-1"]},
    {"fallback": ["open"] * 9},
    {"fallback": ["wrong"]},
    {"fallback": ["echo/wrong"]},
    {"weights": ["open"]},
    {"weights": {"open": True}},
    {"weights": {"open": 0}},
    {"weights": {"open": 1001}},
    {"weights": {"open": -1}},
    {"weights": {"open": 1.5}},
    {"weights": {"open": 1, "echo/open-1": 1}},
    {"weights": {f"m{number}": 1 for number in range(9)}},
    {"fallback": ["open"], "model_type": "embedding"},
]


@pytest.mark.parametrize("more", WRONG, ids=str)
def test_what_names_no_other_model_of_its_kind_is_refused(kept: Registry, more: dict[str, Any]) -> None:
    refused = kept.register("model", "wrong", **more)
    assert (refused.status, refused.error["param"].partition("[")[0]) == (400, next(iter(more)))
    assert kept.get("model", "wrong").status == 404


def test_one_who_may_not_register_learns_of_no_name(kept: Registry) -> None:
    answers = [kept.register("model", "reserved-1", fallback=[name]) for name in ("open", "secret", "nothing")]
    assert {answer.status for answer in answers} == {403}


def test_a_model_that_is_removed_is_left_out_and_none_takes_its_place(kept: Registry) -> None:
    kept.register("model", "spare", provider_model_id="spare-1")
    assert kept.register("model", "ahead", provider_id="gone", fallback=["spare", "open"]).status == 200
    assert answering(kept, "ahead", READER) == "echo/spare-1"
    assert kept.get("model", "spare", method="DELETE").status == 200
    assert answering(kept, "ahead", READER) == "echo/open-1"
    # Its names are free: another model by one of them is another model.
    assert kept.register("model", "echo/spare-1", BOB, provider_model_id="of-bob").status == 200
    assert answering(kept, "echo/spare-1", READER) == "echo/of-bob"
    assert answering(kept, "ahead", READER) == "echo/open-1"


def test_a_circle_through_a_model_that_was_removed_is_seen(kept: Registry) -> None:
    kept.register("model", "second", provider_id="gone")
    kept.register("model", "middle", provider_id="gone", fallback=["second"])
    kept.register("model", "first", provider_id="gone", fallback=["middle"])
    kept.get("model", "second", method="DELETE")
    for named in ("first", "middle"):
        refused = kept.register("model", "second", provider_id="gone", fallback=[named])
        assert refused.status == 400
        assert "leads back to this one" in refused.error["message"]
    # One that could not be seen ends where it began.
    assert kept.chat("first").status == 502
