"""`server.tracing`: where spans go."""

from __future__ import annotations

import pytest

from tests.support.config_texts import errors, load, one_error, with_server


def test_without_the_key_nothing_is_exported() -> None:
    assert load(with_server("port: 1")).server.tracing is None


@pytest.mark.parametrize("endpoint", ["https://collector.example:4318", "http://127.0.0.1:4318/", "https://c/otlp"])
def test_a_collector_is_named_by_its_base_url(endpoint: str) -> None:
    tracing = load(with_server(f'tracing: {{endpoint: "{endpoint}"}}')).server.tracing
    assert tracing is not None
    assert (tracing.endpoint, tracing.service_name) == (endpoint.rstrip("/"), "ostiary")


def test_the_service_has_the_name_that_it_is_given() -> None:
    tracing = load(
        with_server("tracing: {endpoint: 'http://c', service_name: '${env.NAME}'}"), NAME="gate"
    ).server.tracing
    assert tracing is not None and tracing.service_name == "gate"


def test_the_path_that_is_appended_is_refused() -> None:
    sentence = one_error(with_server('tracing: {endpoint: "https://c:4318/v1/traces"}'))
    assert sentence == "`endpoint` takes the collector's base URL; leave out `/v1/traces`, which is appended"


@pytest.mark.parametrize(
    "wrong",
    [
        "tracing: {}",
        "tracing: true",
        "tracing: {endpoint: collector}",
        'tracing: {endpoint: "grpc://collector:4317"}',
        'tracing: {endpoint: "https://user:secret@collector"}',
        'tracing: {endpoint: "https://collector?token=secret"}',
        'tracing: {endpoint: "https://c", service_name: ""}',
        'tracing: {endpoint: "https://c", servicename: x}',
    ],
)
def test_anything_else_is_refused_without_a_secret(wrong: str) -> None:
    (sentence,) = errors(with_server(wrong))
    assert "secret" not in sentence
