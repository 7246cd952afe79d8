"""The issuer that a provider vouches with is the one that rules name."""

from __future__ import annotations

import pytest

from policy.issuers import API_KEYS
from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.authn.api_keys import ISSUER
from server.config import read_config
from server.config.auth import CustomConfig, GitHubConfig, KubernetesConfig


@pytest.mark.parametrize(
    "provider",
    [
        "{type: kubernetes, api_server_url: 'https://kube.example:6443'}",
        "{type: kubernetes, api_server_url: 'https://kube.example/a//'}",
        "{type: kubernetes, api_server_url: 'https://kube.example/'}",
        "{type: github_token}",
        "{type: github_token, github_api_base_url: 'https://git.example/api/v3/'}",
        "{type: custom, endpoint: 'https://auth.example/validate/'}",
    ],
)
def test_addresses_are_compared_as_the_server_uses_them(provider: str) -> None:
    text = f"version: 2\napis: [inference]\nserver: {{auth: {{provider_config: {provider}}}}}\n"
    document, findings = parse_document(text, "config.yaml"), Findings()
    config, policies = read_config(document, {}, findings), read_policies(document, {}, findings)
    assert config is not None, findings.diagnostics
    assert policies is not None
    match config.server.auth.provider_config:
        case KubernetesConfig(api_server_url=address):
            assert policies.issuers.names == (address,)
        case GitHubConfig(github_api_base_url=address):
            assert policies.issuers.names == (address,)
        case CustomConfig(endpoint=address):
            assert policies.issuers.names == (address,)
        case other:
            raise AssertionError(other)


def test_keys_of_our_own_have_one_issuer() -> None:
    assert ISSUER == API_KEYS
