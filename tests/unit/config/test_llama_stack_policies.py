"""Policies and authentication of Llama Stack: carried over exactly, narrowed, or refused; never widened."""

from __future__ import annotations

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from server.config import read_config
from tests.support.imports import plain, refused, section, started, told, translated

LLAMA_CLAIMS = {
    "sub": "roles",
    "username": "roles",
    "groups": "teams",
    "team": "teams",
    "project": "projects",
    "tenant": "namespaces",
    "namespace": "namespaces",
}


def stack(auth: str, name: str = "distro_name") -> str:
    """A configuration with these lines under `server.auth`."""
    return f"{name}: a\nserver:\n  auth:\n" + "".join(f"    {line}\n" for line in auth.strip("\n").splitlines())


RULES = """
access_policy:
- forbid:
    actions: [create, delete]
    resource: regex:model::(.*/)?secret-
  unless: [user with admin in roles, user in owners teams]
  description: kept away
- permit: {principal: user-1, actions: read, resource: "sql_record::openai_files::*"}
- permit: {actions: [read]}
  when: user is owner
route_policy:
- forbid: {paths: ["/v1/files*", "regex:/v1/models/.*"]}
  when: user with guest in roles
- permit: {paths: "*"}
"""


def test_rules_are_carried_over_as_they_are() -> None:
    found = translated(stack(RULES))
    assert not refused(found)
    policies = {key: section(found, "server", "auth", key) for key in ("access_policy", "route_policy")}
    assert policies["route_policy"] == [
        {"forbid": {"paths": ["/v1/files*", "regex:/v1/models/.*"]}, "when": "user with guest in roles"},
        {"permit": {"paths": "*"}},
    ]
    read = read_policies(found.document, {}, findings := Findings())
    assert read is not None, findings.diagnostics
    assert (len(read.access), len(read.routes or ())) == (3, 2)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("permit: {actions: [read], resource: '*'}", "`*` matches nothing in Llama Stack"),
        ("forbid: {actions: [read], resource: '*'}", "`*` matches nothing in Llama Stack"),
        ("permit: {actions: [read], resource: 'model::'}", "`model::` matches nothing in Llama Stack"),
        ("permit: {actions: [read], resource: 'sql_record::'}", "`sql_record::` matches nothing"),
        ("permit: {actions: [read], resource: 'sql_record::openai_files'}", "`sql_record::openai_files` matches"),
        ("forbid: {actions: [read], issuer: a}", "Llama Stack ignores `issuer` in a rule"),
        ("forbid: {actions: [read], resource: 'model::*', methods: [GET]}", "Llama Stack ignores `methods`"),
        ("{forbid: {actions: [read]}, shields: [a]}", "Llama Stack ignores `shields`"),
        ("{permit: {actions: [read]}, when: 'user with \"admin\" in roles'}", "quotes in a condition"),
        ("{forbid: {actions: [read]}, unless: ['user with ''a b'' in roles']}", "quotes in a condition"),
    ],
)
def test_an_access_rule_that_would_mean_something_else_is_refused(rule: str, said: str) -> None:
    for found in (translated(stack(f"access_policy:\n- {rule}")), started(stack(f"access_policy:\n- {rule}"))):
        [sentence] = refused(found)
        assert sentence.startswith(f"5: {said}")
    assert found.findings.has_errors


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("permit: {paths: /v1/files/}", "`/v1/files/` matches no request in Llama Stack, and here `/v1/files`"),
        ("forbid: {paths: '*', methods: [GET]}", "Llama Stack ignores `methods` in a rule"),
        ("{permit: {paths: '*'}, unless: [user with a in b, user with c in d]}", "`unless` with several conditions"),
    ],
)
def test_a_route_rule_that_would_mean_something_else_is_refused(rule: str, said: str) -> None:
    [sentence] = refused(translated(stack(f"route_policy:\n- {rule}")))
    assert sentence.startswith(f"5: {said}")


@pytest.mark.parametrize(
    "rule",
    [
        "{forbid: {actions: [read]}, when: user has admin}",
        "forbid: {actions: [read], resource: 'regex:model::['}",
        "forbid: {actions: [read], resource: 'sql_record::no_table::*'}",
        "forbid: {actions: [look]}",
        "{forbid: {actions: [read]}, when: []}",
        "forbid: {actions: [read], principal: null}",
        "forbid:",
        "deny: {actions: [read]}",
    ],
)
def test_a_rule_that_is_not_understood_stays_an_error(rule: str) -> None:
    found = translated(stack(f"access_policy:\n- {rule}\n- permit: {{actions: [read]}}"))
    findings = Findings()
    assert found.findings.has_errors or read_policies(found.document, {}, findings) is None


@pytest.mark.parametrize(("resource", "number"), [("model::a", 1), ("regex:model::a", 1), ("model::*", 0)])
def test_names_of_models_are_said_to_be_several(resource: str, number: int) -> None:
    found = translated(stack(f"access_policy:\n- permit: {{actions: [read], resource: '{resource}'}}"))
    assert sum("rules match a model by each of its names" in line for line in told(found)) == number


def test_policies_without_rules_are_none_at_all() -> None:
    found = translated(stack("access_policy: []\nroute_policy: []"))
    assert section(found, "server", "auth") == {}
    assert [line.partition("; ")[0] for line in told(found) if "no rules" in line] == [
        "4: replaced: `access_policy` has no rules, so the default policy of this server holds",
        "5: replaced: `route_policy` has no rules, so every route is open to who may use the server",
    ]


OAUTH = "provider_config:\n  type: oauth2_token\n  issuer: https://a\n  jwks: {uri: 'https://a/keys'}"
OLD = "provider_type: oauth2_token\nconfig:\n  issuer: https://a\n  jwks: {uri: 'https://a/keys'}"


@pytest.mark.parametrize("translate", [translated, started])
@pytest.mark.parametrize(("name", "audience"), [("distro_name", "ogx"), ("image_name", "llama-stack")])
@pytest.mark.parametrize("auth", [OAUTH, OLD])
def test_what_llama_stack_checks_by_default_is_checked(
    auth: str, name: str, audience: str, translate: type[translated]
) -> None:
    found = translate(stack(auth, name))
    assert section(found, "server", "auth") == {
        "provider_config": {
            "type": "oauth2_token",
            "issuer": "https://a",
            "jwks": {"uri": "https://a/keys"},
            "audience": audience,
            "claims_mapping": LLAMA_CLAIMS,
            "split_claims": True,
            "leeway": 0,
        }
    }
    assert read_config(found.document, {}, Findings()) is not None


def test_what_is_said_stays() -> None:
    auth = f"{OAUTH}\n  audience: mine\n  claims_mapping: {{grp: teams}}\n  verify_tls: false"
    provider = section(translated(stack(auth)), "server", "auth", "provider_config")
    assert isinstance(provider, dict)
    assert (provider["audience"], provider["claims_mapping"], provider["verify_tls"]) == (
        "mine",
        {"grp": "teams"},
        False,
    )


def test_kubernetes_has_its_usual_address() -> None:
    found = translated(stack("provider_config: {type: kubernetes, verify_tls: true}"))
    assert section(found, "server", "auth", "provider_config", "api_server_url") == "https://kubernetes.default.svc"


@pytest.mark.parametrize("provider", ["kubernetes", "github_token", "custom"])
def test_tokens_are_judged_anew_for_each_request(provider: str) -> None:
    found = translated(stack(f"provider_config: {{type: {provider}, endpoint: 'https://a'}}"))
    assert section(found, "server", "auth", "provider_config", "recheck_period") == 0


def test_an_introspection_is_asked_for_each_request() -> None:
    asked = "{url: 'https://a', client_id: c, client_secret: s}"
    found = translated(stack(f"provider_config: {{type: oauth2_token, introspection: {asked}}}"))
    assert section(found, "server", "auth", "provider_config", "introspection", "recheck_period") == 0
    assert read_config(found.document, {}, Findings()) is not None


def test_a_variable_still_switches_authentication() -> None:
    text = stack("provider_config:\n  type: ${env.ON:+oauth2_token}\n  jwks: {uri: '${env.KEYS}'}")
    found = translated(text)
    assert not refused(found)
    for environ, is_on in (({}, False), ({"ON": "1", "KEYS": "https://a/keys"}, True)):
        config = read_config(found.document, environ, Findings())
        assert config is not None
        assert (config.server.auth.provider_config is not None) == is_on


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ("provider_config: {type: upstream_header, principal_header: x-user}", "callers of the provider"),
        ("provider_config: {type: '${env.KIND}'}", "the `type` of the provider comes from a variable"),
        ("provider_config: {type: '${env.KIND:=oauth2_token}'}", "the `type` of the provider comes from a variable"),
        (f"{OLD}\n{OAUTH}", "`auth` has both forms of a provider"),
        ("config: {jwks: {uri: 'https://a'}}", "`auth` has no `provider_type`"),
        ("provider_type: custom\nconfig: [a]", "`config` takes the settings of the provider"),
        ("provider_type: custom\nconfig: {type: api_key}", "`config` takes the settings of the provider"),
    ],
)
def test_a_provider_that_is_not_known_is_never_left_out(auth: str, said: str) -> None:
    for translate in (translated, started):
        [sentence] = refused(translate(stack(auth)))
        assert said in sentence


@pytest.mark.parametrize("written", ["${env.AUDIENCE:=}", "${env.AUDIENCE:+mine}", "${env.AUDIENCE:+}"])
def test_an_audience_that_may_be_empty_is_refused(written: str) -> None:
    [sentence] = refused(translated(stack(f"{OAUTH}\n  audience: {written}")))
    assert sentence.startswith("8: `audience` may be empty, and then tokens for any service would be accepted; ")
    assert refused(translated(stack(f"{OAUTH}\n  audience: ${{env.AUDIENCE:=mine}}"))) == []


def test_a_limit_that_may_be_empty_is_refused() -> None:
    quota = "{kvstore: {backend: k, namespace: q}, anonymous_max_requests: '${env.MOST:=}'}"
    [sentence] = refused(translated(f"distro_name: a\nserver: {{quota: {quota}}}"))
    assert sentence.startswith("2: `anonymous_max_requests` may be empty")


def test_unknown_keys_of_authentication_stay_errors() -> None:
    found = translated(stack("endpoint: https://judge.example.com"))
    assert read_policies(found.document, {}, Findings()) is None
    assert section(found, "server", "auth") == {"endpoint": "https://judge.example.com"}


def test_limits_of_llama_stack_hold_where_the_file_says_none() -> None:
    found = translated("distro_name: a\nserver: {quota: {kvstore: {backend: k, namespace: q}, period: day}}")
    assert section(found, "server", "quota") == {
        "kvstore": {"backend": "k", "namespace": "q"},
        "period": "day",
        "anonymous_max_requests": 100,
        "authenticated_max_requests": 1000,
    }


def test_pages_are_admitted_as_in_llama_stack() -> None:
    found = translated("distro_name: a\nserver: {cors: {allow_origins: ['https://a.example.com']}}")
    config = read_config(found.document, {}, Findings())
    assert config is not None
    assert plain(found.document.entries["server"].node) == {
        "cors": {"allow_origins": ["https://a.example.com"], "allow_methods": ["OPTIONS"], "allow_headers": []}
    }
