"""Checks of authentication in a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.config import read_config
from tests.support.config_texts import NAME, errors, load, warnings, with_server


def test_required_authentication_must_be_on() -> None:
    text = with_server(
        "auth:\n  require: true\n  provider_config:\n    type: ${env.AUTH:+oauth2_token}\n    audience: a\n"
        "    jwks: {uri: 'https://a'}"
    )
    assert load(text, AUTH="1").server.auth.require is True
    assert errors(text) == [
        "3:14: `require` asks for authentication, and no provider is configured in this environment;"
        " set the variable in `provider_config.type`, or write a `provider_config`"
    ]


def test_a_provider_without_a_type_is_no_way_to_switch_authentication_off() -> None:
    head = "auth:\n  provider_config:\n    jwks: {uri: 'https://a'}"
    assert errors(with_server(head)) == [
        "3:5: `provider_config` has no `type`; use one of `api_key`, `custom`, `github_token`, `kubernetes`,"
        " `oauth2_token`"
    ]
    assert errors(with_server(head + "\n    type:")) == ["5:12: `type` needs a value"]
    assert errors(with_server(head + "\n    type: none")) == [
        "5:13: `type` can't be `none`; use one of `api_key`, `custom`, `github_token`, `kubernetes`, `oauth2_token`"
    ]
    assert errors(with_server("auth: {provider_config: []}")) == [
        "2:27: `provider_config` takes a mapping, not a list; write `key: value` lines, without `- `"
    ]
    [error] = errors(with_server(head + "\n    type: ${env.TYPE}"))
    assert error.startswith("5:13: the environment lacks `TYPE`")


def test_somebody_must_vouch_for_tokens() -> None:
    text = with_server("auth: {provider_config: {type: oauth2_token, audience: a}}")
    assert errors(text) == [
        "2:10: `provider_config` has no `jwks`; write in `jwks` where the keys are, or in `introspection` where tokens"
        " can be asked about"
    ]
    asked = "introspection: {url: 'https://a', client_id: b, client_secret: c}"
    assert errors(text.replace("audience: a", f"audience: a, {asked}")) == []
    assert errors(text.replace("audience: a", f"audience: a, {asked.replace('https', 'http')}")) == [
        "2:82: `url` takes no unencrypted URL; use `https://` for a host other than this one, or list the host in "
        "`allow_http`"
    ]


def test_several_issuers_each_have_a_name_and_somebody_who_vouches() -> None:
    first = "{issuer: 'https://a', audience: x, jwks: {uri: 'https://a/keys'}}"
    head = "auth:\n  provider_config:\n    type: oauth2_token\n    issuers:\n"
    assert errors(with_server(f"{head}      - {first}\n      - {first.replace('https://a', 'https://b')}")) == []
    assert errors(with_server(f"{head}      - {first}\n      - {first}")) == [
        "7:20: `https://a` is the `issuer` in line 6 already; list each issuer once"
    ]
    assert errors(with_server(f"{head}      - {first.replace('issuer', 'isuer')}")) == [
        "6:12: `isuer` is not a key of `issuers[0]`; did you mean `issuer`?"
    ]
    [lacking] = errors(with_server(f"{head}      - {{issuer: 'https://a', audience: x}}"))
    assert lacking.startswith("6:11: this issuer has no `jwks`; ")
    [beside] = errors(with_server(f"{head}      - {first}\n    audience: y"))
    assert beside == "7:17: `audience` has no effect beside `issuers`; move it into one of them"
    assert warnings(with_server(f"{head}      - {first.replace('audience: x, ', '')}")) == [
        "6:20: without `audience`, tokens that were made for other services are accepted; set `audience`"
    ]


def test_client_certificates_are_asked_for_over_https_alone() -> None:
    [error] = errors(with_server(f"tls_cafile: {Path(__file__)}"))
    assert error == (
        "2:15: `tls_cafile` asks clients for certificates, which takes HTTPS; add `tls_certfile` and `tls_keyfile`"
    )


def test_a_missing_audience_is_a_warning() -> None:
    text = with_server("auth: {provider_config: {type: oauth2_token, jwks: {uri: 'https://a'}}}")
    assert warnings(text) == [
        "2:34: without `audience`, tokens that were made for other services are accepted; set `audience`"
    ]


@pytest.mark.parametrize(
    "auth",
    [
        "acess_policy: []",
        "provider_type: a\nconfig: {}",
        "provider_config: {jwks: {}}",
        "provider_config: {type: }",
        "provider_config: {type: '${env.}'}",
        "provider_config: []",
        "lenient_patterns: maybe",
        "provider_config: {type: '${env.MISSING}'}",
    ],
)
def test_what_both_readers_notice_is_reported_once(auth: str) -> None:
    document = parse_document(with_server("auth:\n" + "".join(f"  {line}\n" for line in auth.splitlines())), NAME)
    findings = Findings()
    assert read_policies(document, {}, findings) is None
    before = len(findings.diagnostics)
    assert read_config(document, {}, findings) is None
    spans = [found.span for found in findings.diagnostics]
    assert len(spans) == len(set(spans)) >= before


@pytest.mark.parametrize("name", ["jwks", "introspection"])
def test_an_address_in_place_of_a_section_is_an_error_at_its_place(name: str) -> None:
    found = errors(f"server: {{auth: {{provider_config: {{type: oauth2_token, {name}: 'http://a'}}}}}}")
    assert any(f"`{name}` takes" in error for error in found), found
    assert all(error.startswith("1:") for error in found)
