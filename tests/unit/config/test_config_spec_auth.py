"""The examples of the specification about authentication: C14 to C18."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.config.auth import CustomConfig, GitHubConfig, KubernetesConfig, OAuth2Config
from tests.support.config_texts import errors, load, warnings, with_server

SPEC = Path(__file__).parent / "spec"
C14 = (SPEC / "c14.yaml").read_text(encoding="utf-8")


def tls_files(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.touch()
    key.touch()
    return certificate, key


def test_c14_set_authentication_is_oauth2() -> None:
    auth = load(C14, AUTH_PROVIDER="yes", KEYCLOAK_URL="https://sso.example.com").server.auth
    provider = auth.provider_config
    assert isinstance(provider, OAuth2Config)
    assert provider.jwks is not None
    assert provider.jwks.uri == "https://sso.example.com/realms/llamastack/protocol/openid-connect/certs"
    assert (provider.issuer, provider.audience) == ("https://sso.example.com/realms/llamastack", "llama-stack")


def test_c14_unset_the_provider_is_dropped_with_its_variables_and_loudly() -> None:
    assert load(C14).server.auth.provider_config is None
    assert warnings(C14) == [
        "4:13: authentication is off: `${env.AUTH_PROVIDER:+oauth2_token}` is nothing in this environment"
    ]


def test_c14_both_readers_of_the_file_agree_whether_authentication_is_on() -> None:
    document = parse_document(C14, "config.yaml")
    for environ in ({}, {"AUTH_PROVIDER": ""}, {"AUTH_PROVIDER": "x", "KEYCLOAK_URL": "https://sso.example.com"}):
        policies = read_policies(document, environ, Findings())
        config = load(C14, **environ)
        assert policies is not None
        assert policies.authentication == (config.server.auth.provider_config is not None)


def test_c14_a_set_provider_needs_its_variables() -> None:
    assert errors(C14, AUTH_PROVIDER="yes") == [
        "7:14: the environment lacks `KEYCLOAK_URL`; set it, or write a default: `${env.NAME:=default}`"
    ]


def test_c15_kubernetes_keys_with_token_period_and_private_ca(tmp_path: Path) -> None:
    certificate, _ = tls_files(tmp_path)
    text = f"""
        server:
          auth:
            provider_config:
              type: "oauth2_token"
              jwks:
                uri: "https://kubernetes.default.svc:8443/openid/v1/jwks"
                token: "${{env.TOKEN:+}}"
                key_recheck_period: 3600
              tls_cafile: "{certificate}"
              issuer: "https://kubernetes.default.svc"
              audience: "https://kubernetes.default.svc"
        """
    provider = load(text).server.auth.provider_config
    assert isinstance(provider, OAuth2Config)
    assert provider.jwks is not None
    assert (provider.jwks.token, provider.jwks.key_recheck_period) == (None, 3600)
    assert (provider.tls_cafile, provider.verify_tls) == (certificate, True)
    provider = load(text, TOKEN="eyJ0").server.auth.provider_config
    assert provider is not None
    assert provider.jwks.token is not None
    assert provider.jwks.token.get_secret_value() == "eyJ0"


def provider_of(text: str) -> object:
    return load(with_server(f"auth:\n  provider_config: {text}")).server.auth.provider_config


def test_c16_a_kubernetes_api_server_with_a_mapping_of_its_own(tmp_path: Path) -> None:
    certificate, _ = tls_files(tmp_path)
    provider = provider_of(
        "{type: kubernetes, api_server_url: 'https://kubernetes.default.svc', verify_tls: true,"
        f" claims_mapping: {{username: roles, groups: roles, uid: uid_attr}}, tls_cafile: '{certificate}'}}"
    )
    assert isinstance(provider, KubernetesConfig)
    assert provider.claims_mapping == {"username": "roles", "groups": "roles", "uid": "uid_attr"}
    assert (provider.api_server_url, provider.verify_tls) == ("https://kubernetes.default.svc", True)
    assert provider.tls_cafile == certificate


@pytest.mark.parametrize("url", ["https://api.github.com", "https://github.example.com/api/v3"])
def test_c17_github_or_an_enterprise_server(url: str) -> None:
    provider = provider_of(f"{{type: github_token, github_api_base_url: '{url}'}}")
    assert isinstance(provider, GitHubConfig)
    assert provider.github_api_base_url == url


def test_c18_an_endpoint_of_ones_own() -> None:
    provider = provider_of("{type: custom, endpoint: 'https://auth.example.com/validate'}")
    assert isinstance(provider, CustomConfig)
    assert provider.endpoint == "https://auth.example.com/validate"
