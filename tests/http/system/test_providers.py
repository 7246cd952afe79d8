"""`/v1/providers`: what is shown of a provider to whom, and what it costs the provider."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.application import ByToken
from tests.support.callers import ADMIN, ALICE
from tests.support.failing_provider import Upstream, upstream
from tests.support.real_policy import Decided, decided

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: far, provider_type: remote::vllm, config: {url: "URL"}}
    server:
      auth:
        provider_config: {type: custom, endpoint: "https://auth.example.com/validate"}
"""
OPEN = CONFIG[: CONFIG.index("    server:")]
RULES = {
    "any resource": ("- permit: {actions: [read]}", False),
    "any resource first": (
        '- permit: {actions: [read]}\n        - permit: {actions: [read], resource: "provider::far"}',
        False,
    ),
    "a regular expression about more": ('- permit: {actions: [read], resource: "regex:(model|provider)::.*"}', False),
    "another provider": (
        '- permit: {actions: [read], resource: "provider::near"}\n        - permit: {actions: [read]}',
        False,
    ),
    "this provider": ('- permit: {actions: [read], resource: "provider::far"}', True),
    "every provider": ('- permit: {actions: [read], resource: "provider::*"}', True),
    "an alternative about more": ('- permit: {actions: [read], resource: "regex:provider::zzz|.*"}', False),
    "an anchored alternative": ('- permit: {actions: [read], resource: "regex:^provider::e$|^[^:]+::f"}', False),
    "letters of any case": ('- permit: {actions: [read], resource: "regex:(?i)provider::.*"}', True),
    "alternatives": ('- permit: {actions: [read], resource: "regex:^provider::(e|f)|provider::far"}', True),
    "a regular expression": ('- permit: {actions: [read], resource: "regex:provider::f.*"}', True),
    "this provider, for admins": (
        '- permit: {actions: [read], resource: "provider::far"}\n          when: user with admin in roles\n'
        "        - permit: {actions: [read]}",
        None,
    ),
}


@pytest.fixture
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@contextmanager
def served(text: str, far: Upstream, opa: Path, folder: Path) -> Iterator[Decided]:
    with ExitStack() as stack:
        known = ByToken() if "auth:" in text else None
        yield stack.enter_context(decided(text.replace("URL", far.url), opa, folder, authenticator=known))


@pytest.mark.parametrize("which", RULES)
def test_addresses_are_shown_where_a_rule_about_providers_permits_it(
    which: str, far: Upstream, opa_binary: Path, tmp_path: Path
) -> None:
    rules, shown = RULES[which]
    with served(f"{CONFIG}        access_policy:\n        {rules}\n", far, opa_binary, tmp_path) as house:
        for caller in (ALICE, ADMIN):
            (listed,) = house.address.get("/v1/providers", caller).json["data"]
            assert listed == house.address.get("/v1/providers/far", caller).json
            may = shown if shown is not None else caller == ADMIN
            config = {"base_url": far.url, "api_token": None, "tls_verify": True, "allow_members": []}
            assert (listed["config"].items() >= config.items()) if may else (listed["config"] == {})
            assert (listed["provider_id"], listed["provider_type"]) == ("far", "remote::vllm")


@pytest.mark.parametrize("text", [CONFIG, OPEN], ids=["the default policy", "no authentication"])
def test_no_address_is_shown_by_default(text: str, far: Upstream, opa_binary: Path, tmp_path: Path) -> None:
    with served(text, far, opa_binary, tmp_path) as house:
        for path in ("/v1/providers", "/v1/providers/far"):
            answer = house.address.get(path, ALICE)
            assert answer.status == 200
            assert b'"config":{}' in answer.body
            assert str(far.url).encode() not in answer.body
            assert b'"status":"OK"' in answer.body


def test_a_provider_is_not_asked_about_its_health_by_each_request(
    far: Upstream, opa_binary: Path, tmp_path: Path
) -> None:
    with served(OPEN, far, opa_binary, tmp_path) as house:
        for _ in range(30):
            assert house.address.get("/v1/providers").status == 200
        assert [path for path, *_ in far.asked] == ["/v1/models"]
