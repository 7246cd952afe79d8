"""Settings of providers in configurations of Llama Stack, and of what is not served."""

from __future__ import annotations

import pytest

from policy.source.diagnostics import Findings
from server.config import read_config
from tests.support.imports import FOLDER, refused, section, started, told, translated


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ("{url: 'https://api.groq.com'}", {"url": "https://api.groq.com/openai/v1"}),
        ("{url: 'https://a', append_api_version: true}", {"url": "https://a/v1"}),
        ("{url: 'https://a', append_api_version: false}", {"url": "https://a"}),
        ("{network: {timeout: 30}}", {"timeouts": {"connect": 30, "silence": 30}}),
        ("{network: {timeout: {read: 60.0}}}", {"timeouts": {"silence": 60}}),
        (
            "{network: {timeout: 0.5, proxy: {url: 'http://p'}, tls: {verify: /ca, client_cert: /c}}}",
            {"tls_verify": "/ca"},
        ),
        ("{api_key: k, organization: o, refresh_models: true, allowed_models: null}", {"api_key": "k"}),
    ],
)
def test_settings_of_a_provider(settings: str, kept: dict[str, object]) -> None:
    provider = f"{{provider_id: a, provider_type: 'remote::groq', config: {settings}}}"
    found = translated(f"distro_name: a\nproviders: {{inference: [{provider}]}}")
    [provider] = section(found, "providers", "inference")  # type: ignore[misc]  # a list, as the file says
    assert provider["config"] == kept


@pytest.mark.parametrize("written", ["guardrail: ", "guardrail_config: ", "guardrailConfig: ~"])
def test_an_empty_guardrail_stays_an_error(written: str) -> None:
    provider = "{provider_id: a, provider_type: 'remote::bedrock', config: {region: us-east-1, api_key: k, %s}}"
    found = started(f"distro_name: a\nproviders: {{inference: [{provider % written}]}}")
    findings = Findings()
    assert read_config(found.document, {}, findings) is None
    [error] = [error.message for error in findings.diagnostics]
    assert error.endswith("needs an `id` and a `version`")


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("ca: '${env.A:=}'", "ca"),
        ("ca: '${env.A:+a}'", "ca"),
        ("network: {proxy: '${env.A:=}'}", "network.proxy"),
        ("network: {tls: {ca_cert: '${env.A:=}'}}", "network.tls.ca_cert"),
    ],
)
def test_a_start_drops_no_setting_whose_variable_is_set(setting: str, name: str) -> None:
    provider = f"{{provider_id: a, provider_type: 'remote::groq', config: {{{setting}}}}}"
    text = f"distro_name: a\nproviders: {{inference: [{provider}]}}"
    assert refused(started(text)) == []
    assert told(started(text))[-1] == f"2: ignored (harmless): `{name}` has no value unless its variable is set"
    [error] = refused(started(text, A="1"))
    assert error.startswith(f"2: `{name}` is not a setting of ")


def test_an_address_in_a_default_gets_its_path_there() -> None:
    found = translated((FOLDER / "nvidia.yaml").read_text())
    [provider] = section(found, "providers", "inference")  # type: ignore[misc]  # a list, as the file says
    assert provider["config"]["url"] == "${env.GREEN_URL:=https://integrate.api.nvidia.com/v1}"


def test_a_mapping_of_providers_becomes_a_list() -> None:
    echo = "{provider_type: 'inline::echo'}"
    text = f"distro_name: a\nproviders: {{inference: {{one: {echo}, two: {echo}}}}}"
    found = translated(text)
    assert section(found, "providers", "inference") == [
        {"provider_id": "one", "provider_type": "inline::echo"},
        {"provider_id": "two", "provider_type": "inline::echo"},
    ]
    assert len(told(started(text))) == 4


def test_settings_of_what_is_not_served_keep_nothing_from_starting() -> None:
    text = """
        distro_name: a
        apis: [inference]
        vector_stores: {default_provider_id: f}
        safety: {default_shield_id: s}
        storage:
          backends: {k: {type: kv_sqlite, db_path: a.db}}
          stores: {connectors: {backend: k, namespace: c}}
        """
    assert refused(started(text)) == []
    assert sorted(line for line in told(started(text)) if "no effect" in line) == [
        "4: ignored (harmless): `vector_stores` has no effect while `apis` leaves `vector_io` out",
        "5: ignored (harmless): `safety` has no effect while `apis` leaves `safety` out",
        "8: ignored (harmless): `storage.stores.connectors` has no effect while `connectors` is not served",
    ]
