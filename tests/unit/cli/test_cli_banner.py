"""What a start says is in force, and what it offers to type."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.cli.banner import Policies, alarms, banner
from server.config import Config, read_config
from tests.support.certificate import certificate

EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound here
HEAD = """\
version: 2
apis: [inference]
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
"""
KEYS = "server: {auth: {provider_config: {type: api_key}}}\n"
DEVELOPMENT = "jwks: {uri: 'file://${env.OSTIARY_HOME}/development-jwks.json'}"
OAUTH = "server: {auth: {provider_config: {type: oauth2_token, REST}}}\n"


def configured(text: str, environ: dict[str, str] | None = None) -> Config:
    findings = Findings()
    head = HEAD.replace("[inference]", "[inference, safety]") if "shields:" in text else HEAD
    config = read_config(parse_document(head + text, "config.yaml"), environ or dict(os.environ), findings)
    assert config is not None, findings.diagnostics
    return config


def said(
    access: int = 2,
    routes: int | None = 2,
    guardrails: int = 0,
    *,
    text: str = KEYS,
    host: str = "127.0.0.1",
    path: str = "config.yaml",
    opa: Path | None = None,
    required: frozenset[str] = frozenset(),
) -> str:
    policies = Policies(access, "access_policy", routes, guardrails, Path("rego"), opa, required)
    return banner(Path(path), configured(text), policies, "0" * 16, host, 8321)


def fact(name: str, *, text: str) -> str:
    (line,) = [line for line in said(text=text).splitlines() if line.startswith(f"  {name:<15} ")]
    return line[18:]


@pytest.mark.parametrize(
    ("access", "routes", "sentence"),
    [
        (6, 5, "6 access rules, 5 route rules"),
        (1, 1, "1 access rule, 1 route rule"),
        (0, 0, "0 access rules, 0 route rules"),
        (2, None, "2 access rules, no route policy"),
    ],
)
def test_a_policy_without_rules_is_told_from_none(access: int, routes: int | None, sentence: str) -> None:
    assert f"  policy          {sentence}\n" in said(access, routes)


@pytest.mark.parametrize(("count", "sentence"), [(0, "none"), (1, "1"), (12, "12")])
def test_it_says_how_many_guardrails_are_in_force(count: int, sentence: str) -> None:
    assert f"  guardrails      {sentence}\n" in said(guardrails=count)


QUOTA = "quota: {kvstore: {type: sqlite, db_path: q.db}, anonymous_max_requests: 5, authenticated_max_requests: 7"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("", "none"),
        ("max_concurrent_requests: 3", "none, 3 at once in each process"),
        (QUOTA + "}", "5 requests of each address without a token a day, 7 requests of each principal a day"),
        (
            QUOTA + ", max_tokens_per_period: 9, period: hour, max_bytes: 1MB, limits: [{max_requests: 1}]}",
            "5 requests of each address without a token an hour, 7 requests of each principal an hour, "
            "9 tokens of each caller an hour, 1000000 bytes kept by each owner, 1 limit by rule",
        ),
    ],
)
def test_it_says_what_callers_may_use(settings: str, sentence: str) -> None:
    assert fact("quotas", text=f"server: {{{settings}}}\n") == sentence


def test_it_says_where_records_and_files_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path))
    assert fact("records", text=KEYS) == f"`{tmp_path}/records.db` (sqlite)"
    assert fact("files", text=KEYS) == f"`{tmp_path}/files`"
    stored = """\
storage:
  backends: {tables: {type: sql_postgres, user: u, password: canary, host: db.example}}
  stores: {conversations: {backend: tables, table_name: c}, files: {backend: tables, table_name: f}}
  blobs: {type: s3, bucket: bytes, access_key_id: canary, secret_access_key: canary}
"""
    records = fact("records", text=stored)
    assert "`tables` (sql_postgres)" in records
    assert fact("files", text=stored) == "the bucket `bytes`"
    assert "canary" not in said(text=stored)
    assert "db.example" not in said(text=stored)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("{}", "/metrics, for everybody"),
        ("{metrics: {port: 9464}}", "http://127.0.0.1:9464/metrics; /metrics, for everybody"),
        ("{auth: {provider_config: {type: api_key}}}", "not shown (see `server.metrics`, or write a route rule"),
        (
            "{auth: {provider_config: {type: api_key}, route_policy: []}}",
            "/metrics, for those whom the route policy permits it",
        ),
    ],
)
def test_it_says_who_sees_metrics(settings: str, sentence: str) -> None:
    assert fact("metrics", text=f"server: {settings}\n").startswith(sentence)


def test_it_shouts_what_is_open_to_all() -> None:
    assert alarms(configured(KEYS)) == []
    assert [alarm.partition(":")[0] for alarm in alarms(configured(""))] == ["AUTHENTICATION IS OFF"]
    text = "server: {auth: {provider_config: {type: api_key}}, metrics: {host: HOST, port: 1}}\n"
    for host, alarm in [(EVERYWHERE, ["METRICS ARE OPEN"]), ("'::'", ["METRICS ARE OPEN"]), ("127.0.0.2", [])]:
        assert [each.partition(":")[0] for each in alarms(configured(text.replace("HOST", host)))] == alarm
    lines = [line for line in said(text="").splitlines() if line.startswith("  !! ")]
    assert lines[0].startswith("  !! AUTHENTICATION IS OFF")
    assert all(len(line) <= 120 for line in lines)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "ostiary"
    program.parent.mkdir()
    program.touch(mode=0o755)
    return program


@pytest.fixture(autouse=True)
def usual_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSTIARY_HOME", raising=False)


def test_what_it_offers_to_type_is_what_was_typed(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(program), "run"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert f"TOKEN=$({program} key create" in said()
    assert f"\n  {program} policy explain config.yaml" in said()


def test_a_program_that_the_shell_finds_is_called_by_its_name(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(program), "run"])
    monkeypatch.setenv("PATH", str(program.parent))
    assert "TOKEN=$(ostiary key create" in said()
    assert "\n  ostiary policy explain config.yaml" in said()


def test_a_program_that_has_no_name_is_called_by_way_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/launcher.py", "run"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert f"TOKEN=$({sys.executable} -m server.cli.main key create" in said()


def test_a_home_of_its_own_goes_along(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "my home"))
    assert f"TOKEN=$(OSTIARY_HOME='{tmp_path}/my home' " in said()


def test_a_name_that_a_shell_would_take_apart_is_quoted() -> None:
    assert " policy explain 'my config;.yaml' --as" in said(path="my config;.yaml")


@pytest.mark.parametrize(
    ("settings", "offered"),
    [
        (DEVELOPMENT, "token --subject"),
        (f"audience: ostiary, issuer: ostiary-development, {DEVELOPMENT}", "token --subject"),
        (f"audience: ostiary, issuer: https://issuer.example, {DEVELOPMENT}", "read -r TOKEN"),
        (f"audience: other, issuer: ostiary-development, {DEVELOPMENT}", "read -r TOKEN"),
        (
            "issuer: https://issuer.example, jwks: {uri: 'https://issuer.example/keys'}",
            "a token of https://issuer.example",
        ),
        ("jwks: {uri: 'https://issuer.example/keys'}", "a token of your identity provider"),
        (
            "introspection: {url: 'https://issuer.example/i', client_id: c, client_secret: s}, issuer: https://i.example",
            "a token of https://i.example",
        ),
        (
            "issuers: [{issuer: https://a.example, jwks: {uri: 'https://a.example/k'}, audience: o}, "
            f"{{issuer: ostiary-development, audience: ostiary, {DEVELOPMENT}}}]",
            "token --subject",
        ),
    ],
)
def test_a_token_is_made_only_where_it_is_believed(
    settings: str, offered: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path))
    (line,) = [
        line
        for line in said(text=OAUTH.replace("REST", settings)).splitlines()
        if "TOKEN" in line and "curl" not in line
    ]
    assert offered in line
    assert ("read -r TOKEN" in line) is ("token --subject" not in line)


@pytest.mark.parametrize(
    "provider",
    [
        "{type: github_token}",
        "{type: kubernetes, api_server_url: 'https://kubernetes.default.svc'}",
        "{type: custom, endpoint: 'https://auth.example/validate'}",
    ],
)
def test_who_has_tokens_elsewhere_is_asked_for_one(provider: str) -> None:
    assert "\n  read -r TOKEN   # paste a token" in said(text=f"server: {{auth: {{provider_config: {provider}}}}}\n")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8321"),
        (EVERYWHERE, "http://localhost:8321"),
        ("::", "http://localhost:8321"),
        ("::1", "http://[::1]:8321"),
        ("192.0.2.1", "http://192.0.2.1:8321"),
    ],
)
def test_curl_goes_where_the_server_can_be_reached(host: str, url: str) -> None:
    assert f"\n  curl {url}/v1/models -H" in said(host=host)


def test_curl_believes_the_certificate_under_the_name_that_it_has(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    text = f"server: {{tls_certfile: {pem}, tls_keyfile: {pem}}}\n"
    assert f"\n  curl --cacert {pem} https://127.0.0.1:8321/v1/models\n" in said(text=text)
    assert f"\n  curl --cacert {pem} https://127.0.0.1:8321/v1/models\n" in said(text=text, host=EVERYWHERE)
    elsewhere = said(text=text, host="192.0.2.1")
    assert f"\n  curl --cacert {pem} --connect-to ::192.0.2.1: https://127.0.0.1:8321/v1/models\n" in elsewhere


def test_opa_is_called_so_that_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opa = tmp_path / "b in" / "opa"
    opa.parent.mkdir()
    opa.touch(mode=0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    assert f"rego (try: '{opa}' inspect -a rego)\n" in said(opa=opa)
    monkeypatch.setenv("PATH", str(opa.parent))
    assert "rego (try: opa inspect -a rego)\n" in said(opa=opa)
    assert "inspect" not in said(opa=None)


SHIELDS = """\
  safety: [{provider_id: words, provider_type: inline::keyword}]
shields:
- {shield_id: strict, provider_id: words, params: {words: [a]}}
- {shield_id: lenient, provider_id: words, params: {words: [a], on_error: allow}}
- {shield_id: plain, provider_id: words, params: {words: [a], on_error: block}}
"""


def test_shields_are_told_with_what_their_failures_mean() -> None:
    found = said(text=SHIELDS, required=frozenset({"strict"}))
    assert "  shields         strict (required), lenient (lets texts pass when it fails), plain\n" in found
    assert "SHIELDS LET TEXTS PASS WHEN THEY FAIL: `lenient` with `on_error: allow`" in found
    both = said(text=SHIELDS, required=frozenset({"strict", "lenient"}))
    assert "  shields         strict (required), lenient (required), plain\n" in both


def test_nothing_is_said_of_shields_that_block() -> None:
    text = SHIELDS.replace(", on_error: allow", "")
    assert "SHIELDS LET" not in said(text=text)
    assert "  shields " not in said()
