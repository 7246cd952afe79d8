"""`GET /v1/inspect/routes`: what the list holds, and who sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.application import ByToken
from tests.support.real_policy import Decided, decided
from tests.support.route_table import ROUTES

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      - {provider_id: second, provider_type: inline::echo}
      - {provider_id: far, provider_type: remote::vllm, config: {url: "http://127.0.0.1:9"}}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - permit: {paths: /v1/inspect/routes}
          when: user with admin in roles
        - permit: {paths: /v1/models}
"""
PATH = "/v1/inspect/routes"


@pytest.fixture(scope="module")
def server(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    with decided(CONFIG, opa_binary, tmp_path_factory.mktemp("inspect"), authenticator=ByToken()) as running:
        yield running


def test_every_route_is_listed_with_its_method(server: Decided) -> None:
    shown = server.address.get(PATH, "Authorization: Bearer admin").json["data"]
    written = [(entry["route"], entry["method"]) for entry in shown]
    assert written == sorted(written)
    names = {f"{method} {route}" for route, method in written}
    assert names | {"GET /metrics"} == {name.replace(":path}", "}") for name in ROUTES}


def test_a_route_is_listed_with_the_types_of_its_providers(server: Decided) -> None:
    shown = server.address.get(PATH, "Authorization: Bearer admin").json["data"]
    types = {entry["route"]: entry["provider_types"] for entry in shown if entry["method"] == "POST"}
    assert types["/v1/chat/completions"] == ["inline::echo", "remote::vllm"]
    assert types["/v1/files"] == []


def test_the_route_policy_decides_who_sees_the_list(server: Decided) -> None:
    refused = server.address.get(PATH, "Authorization: Bearer alice")
    assert (refused.status, refused.error["code"]) == (403, "insufficient_permissions")
    assert server.address.get(PATH).status == 401
