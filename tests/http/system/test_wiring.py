"""From a configuration to an application: which provider is called where, over which TLS, for whose origin."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.wiring import application
from tests.support.application import AlwaysReady
from tests.support.certificate import certificate
from tests.support.failing_provider import Upstream, upstream
from tests.support.real_policy import read
from tests.support.serving import Address, serving
from tests.support.unsafe_policy import UnsafePermitAll

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@contextmanager
def built(provider: str, cors: str = "false") -> Iterator[Address]:
    """The server with one provider, `p`, and one model of it, `m`."""
    config = read(f"""
        version: 2
        apis: [inference]
        providers:
          inference: [{{provider_id: p, {provider}}}]
        models: [{{model_id: alias, provider_id: p, provider_model_id: m, metadata: {{context: 5}}}}]
        server:
          cors: {cors}
          auth: {{access_policy: [{{permit: {{actions: [read], resource: "provider::*"}}}}]}}
    """)
    with serving(application.build(config, UnsafePermitAll("access_policy[0]"), None, AlwaysReady())) as address:
        yield address


def chat(address: Address) -> int:
    return address.post(CHAT, {"model": "alias", "messages": [{"role": "user", "content": "hi"}]}).status


@pytest.mark.parametrize(
    ("provider", "key"),
    [
        ("provider_type: remote::openai, config: {base_url: URL/v1, api_key: k1}", "k1"),
        ("provider_type: remote::openai, config: {base_url: URL/v1}", None),
        ("provider_type: remote::vllm, config: {url: URL, api_token: k2}", "k2"),
        ("provider_type: remote::vllm, config: {url: URL/v1}", None),
        ("provider_type: remote::ollama, config: {url: URL}", None),
        ("provider_type: remote::ollama, config: {base_url: URL/v1/}", None),
    ],
)
def test_each_kind_of_provider_is_called_as_it_wants(server: Upstream, provider: str, key: str | None) -> None:
    server.forget()
    with built(provider.replace("URL", server.url)) as address:
        assert chat(address) == 200
        shown = address.get("/v1/providers").json["data"][0]
    path, headers, body = server.asked[0]
    assert (path, body["model"]) == ("/v1/chat/completions", "m")
    assert headers.get("Authorization") == (None if key is None else f"Bearer {key}")
    assert "k1" not in str(shown)
    assert "k2" not in str(shown)
    assert shown["config"].get("api_key", shown["config"].get("api_token")) == (None if key is None else "********")


def test_a_model_shows_its_metadata(server: Upstream) -> None:
    with built("provider_type: inline::echo") as address:
        assert address.get("/v1/models/alias").json["custom_metadata"] == {
            "context": 5,
            "provider_id": "p",
            "provider_resource_id": "m",
            "model_type": "llm",
        }


@pytest.mark.parametrize(
    ("cors", "origin", "allowed"),
    [
        ("false", "http://localhost:3000", None),
        ("true", "http://localhost:3000", "http://localhost:3000"),
        ("true", "https://app.example", None),
        ("{}", "https://app.example", "*"),
        ("{allow_origins: ['https://app.example']}", "https://app.example", "https://app.example"),
        ("{allow_origins: ['https://app.example']}", "https://other.example", None),
        ("{allow_origins: [], allow_origin_regex: 'https://a.*'}", "https://app.example", "https://app.example"),
    ],
)
def test_cors_is_what_the_configuration_says(cors: str, origin: str, allowed: str | None) -> None:
    with built("provider_type: inline::echo", cors) as address:
        assert address.get("/v1/health", f"Origin: {origin}").headers.get("access-control-allow-origin") == allowed


def test_a_provider_over_tls_has_one_context_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = certificate(tmp_path)
    inbound = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inbound.load_cert_chain(pem)
    made: list[ssl.SSLContext] = []
    create = ssl.create_default_context

    def counted(cafile: Path | None = None) -> ssl.SSLContext:
        made.append(create(cafile=cafile))
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", counted)
    with upstream(inbound) as server:
        settings = f"config: {{url: '{server.url}', tls_verify: '{pem}'}}"
        with built(f"provider_type: remote::vllm, {settings}") as address:
            assert [chat(address) for _ in range(3)] == [200, 200, 200]
            assert address.get("/v1/providers").json["data"][0]["config"]["tls_verify"] == str(pem)
    assert len(made) == 1


@pytest.mark.parametrize(("verify", "status"), [("true", 502), ("false", 200)])
def test_an_unknown_certificate_is_believed_only_where_the_configuration_says_so(
    tmp_path: Path, verify: str, status: int
) -> None:
    inbound = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inbound.load_cert_chain(certificate(tmp_path))
    with (
        upstream(inbound) as server,
        built(f"provider_type: remote::vllm, config: {{url: '{server.url}', tls_verify: {verify}}}") as address,
    ):
        assert chat(address) == status


def test_an_address_without_tls_needs_no_context(server: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", None)
    with built(f"provider_type: remote::ollama, config: {{url: '{server.url}'}}") as address:
        assert chat(address) == 200
