"""Addresses are shown in logs: none of the configuration has a password or a query to be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from policy.source.rendering import render
from server.config.base import StrictModel
from tests.support.config_texts import NAME, load, read

CANARY = "canary-5b1f0e"
ISSUER = "server: {auth: {provider_config: {type: oauth2_token, audience: a, "
STORED = "storage: {backends: {b: {"

PLACES = {
    "KubernetesConfig.api_server_url": "server: {auth: {provider_config: {type: kubernetes, api_server_url: 'HERE'}}}",
    "CustomConfig.endpoint": "server: {auth: {provider_config: {type: custom, endpoint: 'HERE'}}}",
    "IntrospectionConfig.url": ISSUER + "introspection: {url: 'HERE', client_id: c, client_secret: s}}}}",
    "JwksConfig.uri": ISSUER + "jwks: {uri: 'HERE'}}}}",
    "GitHubConfig.github_api_base_url": (
        "server: {auth: {provider_config: {type: github_token, github_api_base_url: 'HERE'}}}"
    ),
    "ServerConfig.host": "server: {host: 'HERE'}",
    "MetricsConfig.host": "server: {metrics: {port: 1, host: 'HERE'}}",
    "OpaConfig.url": f"server: {{opa: {{url: 'HERE', token: {'t' * 32}}}}}",
    "OpenAISettings.base_url": (
        "providers: {inference: [{provider_id: p, provider_type: 'remote::openai', config: {base_url: 'HERE'}}]}"
    ),
    "OllamaSettings.base_url": (
        "providers: {inference: [{provider_id: p, provider_type: 'remote::ollama', config: {url: 'HERE'}}]}"
    ),
    "VllmSettings.base_url": (
        "providers: {inference: [{provider_id: p, provider_type: 'remote::vllm', config: {url: 'HERE'}}]}"
    ),
    "BedrockSettings.base_url": (
        "providers: {inference: [{provider_id: p, provider_type: 'remote::bedrock', "
        "config: {url: 'HERE', region: us-east-1, api_key: k}}]}"
    ),
    "BedrockAccount.base_url": (
        "providers: {safety: [{provider_id: p, provider_type: 'remote::bedrock', "
        "config: {url: 'HERE', region: us-east-1, api_key: k}}]}"
    ),
    "HostedSettings.base_url": (
        "providers: {inference: [{provider_id: p, provider_type: 'remote::groq', config: {url: 'HERE'}}]}"
    ),
    "PlacedSettings.base_url": (
        "providers: {inference: [{provider_id: p, provider_type: 'remote::azure', config: {base_url: 'HERE'}}]}"
    ),
    "KvRedisBackend.host": STORED + "type: kv_redis, host: 'HERE'}}}",
    "KvPostgresBackend.host": STORED + "type: kv_postgres, user: u, host: 'HERE'}}}",
    "SqlPostgresBackend.host": STORED + "type: sql_postgres, user: u, host: 'HERE'}}}",
    "S3Blobs.endpoint": "storage: {blobs: {type: s3, bucket: b, endpoint: 'HERE'}}",
    "LanceSettings.uri": (
        "providers: {vector_io: [{provider_id: v, provider_type: 'inline::lancedb', config: {uri: 'HERE'}}]}"
    ),
    "BucketOptions.endpoint": (
        "providers: {vector_io: [{provider_id: v, provider_type: 'inline::lancedb', "
        "config: {uri: 's3://bucket', storage_options: {endpoint: 'HERE'}}}]}"
    ),
    "McpSettings.allowed_hosts": (
        "providers: {tool_runtime: [{provider_id: m, provider_type: 'remote::model-context-protocol', "
        "config: {allowed_hosts: ['HERE']}}]}"
    ),
    "McpEndpoint.uri": "tool_groups: [{toolgroup_id: g, provider_id: m, mcp_endpoint: {uri: 'HERE'}}]",
    "ToolGroupConfig.mcp_endpoint": "tool_groups: [{toolgroup_id: g, provider_id: m, mcp_endpoint: 'HERE'}]",
    "TracingConfig.endpoint": "server: {tracing: {endpoint: 'HERE'}}",
}
ADDRESSES = [
    f"SCHEME://user:{CANARY}@host/path",
    f"SCHEME://{CANARY}@host/path",
    f"SCHEME://user:{CANARY}/x@host/path",
    f"SCHEME://host/path?key={CANARY}",
    f"SCHEME://host/path?{CANARY}",
    f"SCHEME://host?key={CANARY}",
    f"SCHEME://host/path#{CANARY}",
    f"SCHEME://host:port/path?key={CANARY}",
    f"SCHEME://[::1/path?key={CANARY}",
    f"//user:{CANARY}@host",
    f"user:{CANARY}@host",
    f"host?key={CANARY}",
    f"host/path?key={CANARY}",
]
MAY_HAVE_A_QUERY = {"JwksConfig.uri"}
"""The canary of a whole server (`tests/support/canary.py`) looks for what is sent to it."""


def shapes(kind: type[StrictModel]) -> Iterator[type[StrictModel]]:
    for derived in kind.__subclasses__():
        yield derived
        yield from shapes(derived)


def test_every_field_that_holds_an_address_is_looked_at_here() -> None:
    fields = {
        f"{shape.__name__}.{name}"
        for shape in shapes(StrictModel)
        for name in shape.model_fields
        if re.search(r"url|uri|endpoint|host|address", name) and shape.__module__.startswith("server.config")
    }
    assert fields - {"PostgresBackend.host"} == PLACES.keys(), "the base class of two backends can't be written"


@pytest.mark.parametrize("field", PLACES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_address_holds_a_secret_and_no_sentence_quotes_one(field: str, scheme: str) -> None:
    for address in ADDRESSES:
        text = PLACES[field].replace("HERE", address.replace("SCHEME", scheme))
        text = "version: 2\n" + text
        config, found = read(text)
        assert CANARY not in "\n".join(map(str, found)), address
        # The line of the file is shown beside the sentence.
        assert CANARY not in render(found, {NAME: text}, color=False), address
        if config is not None:
            assert field in MAY_HAVE_A_QUERY, address


@pytest.mark.parametrize("field", [field for field in PLACES if field.endswith(".host")])
@pytest.mark.parametrize("host", ["db.example.com", "10.0.0.1", "::1", "fe80::1%eth0", "my_service"])
def test_a_host_is_a_name_or_an_address(field: str, host: str) -> None:
    load("version: 2\n" + PLACES[field].replace("HERE", host))


def test_a_host_of_postgresql_may_be_the_directory_of_its_socket() -> None:
    load("version: 2\n" + PLACES["SqlPostgresBackend.host"].replace("HERE", "/run/postgresql"))
