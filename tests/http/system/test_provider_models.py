"""`GET /v1/providers/{provider_id}/models`: the provider's own list, for callers who may read what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from server.inference import own_models
from tests.support.application import ByToken
from tests.support.callers import ADMIN, ALICE, BOB
from tests.support.real_policy import Decided, decided
from tests.support.relay_server import JSON_HEAD, whole
from tests.support.scripted_provider import Scripted, scripted, sending
from tests.support.serving import Answer

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: far, provider_type: remote::vllm, config: {url: "URL"}}
      - {provider_id: few, provider_type: remote::vllm, config: {url: "URL", allowed_models: [b, none]}}
      - {provider_id: near, provider_type: inline::echo}
    models:
    - {model_id: known, provider_id: far, provider_model_id: a}
    server:
      auth:
        provider_config: {type: custom, endpoint: "https://auth.example.com/validate"}
        access_policy:
        - forbid: {actions: [read], resource: "provider::*"}
          when: user with bob in roles
        - forbid: {actions: [read], resource: "regex:model::.*/secret-"}
        - permit: {actions: [read]}
          when: user with admin in roles
        - permit: {actions: [read]}
          when: resource is from config
"""
LIST = {"object": "list", "data": [{"id": name, "object": "model"} for name in ("a", "b", "secret-c", "d/e:7b", "a")]}


@dataclass
class Listing:
    """The running server, and the provider behind it."""

    house: Decided
    far: Scripted

    def names(self, provider: str = "far", caller: str = ADMIN) -> list[str]:
        """The models in a list."""
        answer = self.answer(provider, caller)
        assert answer.status == 200, answer.body
        return [each["id"] for each in answer.json["data"]]

    def answer(self, provider: str = "far", caller: str = ADMIN) -> Answer:
        """The answer to a request for a list."""
        return self.house.address.get(f"/v1/providers/{provider}/models", caller)


@pytest.fixture
def listing(opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listing]:
    monkeypatch.setattr(own_models, "FAILED_SECONDS", 0.0)
    with ExitStack() as stack:
        far = stack.enter_context(scripted())
        far.play(sending(whole(LIST)))
        text = CONFIG.replace("URL", far.url)
        yield Listing(stack.enter_context(decided(text, opa_binary, tmp_path, authenticator=ByToken())), far)


def test_each_caller_sees_those_that_it_may_read(listing: Listing) -> None:
    assert listing.names() == ["a", "b", "d/e:7b"]
    # What is no model of this server is not from its configuration.
    assert listing.names(caller=ALICE) == ["a"]
    assert listing.names("few") == ["b"]
    assert listing.names("near") == []
    assert listing.answer(caller=BOB).status == listing.answer("nowhere").status == 404
    shown = listing.answer().json["data"][0]
    assert shown == {"id": "a", "object": "model", "owned_by": "far"}
    # Each provider was asked once, on behalf of all.
    assert [head.split(" HTTP")[0] for head, _ in listing.far.asked] == ["GET /v1/models"] * 2


ODD: list[Any] = [b"nonsense", [], {"data": "x"}, {"object": "list"}, b"<html>", {"data": [], "x": float("nan")}]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_what_is_no_list_is_502(listing: Listing, odd: Any) -> None:
    listing.far.play(sending(whole(odd)))
    answer = listing.answer()
    assert (answer.status, answer.error["code"]) == (502, "server_error")


def test_names_that_are_none_are_left_out_and_the_list_has_an_end(listing: Listing) -> None:
    names: list[Any] = [None, 7, "", "x" * 257, "a\nb", *(f"m{number}" for number in range(2000))]
    listing.far.play(sending(whole({"data": ["odd", *({"id": name} for name in names)]})))
    assert listing.names() == [f"m{number}" for number in range(own_models.MOST_LISTED)]


@pytest.mark.parametrize(("status", "told"), [(500, 502), (401, 502), (429, 429)])
def test_a_failure_is_told_and_not_kept(listing: Listing, status: int, told: int) -> None:
    head = JSON_HEAD.replace(b"200 OK", b"%d No" % status)
    listing.far.play(sending(whole({"error": {"message": "words of the provider"}}, head)))
    answer = listing.answer()
    assert answer.status == told
    assert b"words" not in answer.body
    listing.far.play(sending(whole(LIST)))
    assert listing.names() == ["a", "b", "d/e:7b"]
