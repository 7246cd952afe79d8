"""`issuer` in access rules: one of those that the configuration names, and needed where it names several."""

from __future__ import annotations

import pytest

from policy.issuers import API_KEYS, GITHUB
from policy.rules import PolicySet
from policy.source.diagnostics import Diagnostic
from tests.support.policy_texts import codes, read_auth

OWN, PARTNER = "https://own.example", "https://partner.example"
SEVERAL = f"""
    provider_config:
      type: oauth2_token
      issuers:
        - {{issuer: {OWN}, jwks: {{uri: "{OWN}/keys"}}}}
        - {{issuer: {PARTNER}, introspection: {{url: "{PARTNER}/ask", client_id: c, client_secret: s}}}}
"""
ONE = f"provider_config: {{type: oauth2_token, issuer: {OWN}, jwks: {{uri: '{OWN}/keys'}}}}"


def loaded(
    provider: str, *rules: str, environ: dict[str, str] | None = None
) -> tuple[PolicySet | None, list[Diagnostic]]:
    """What becomes of rules under a provider."""
    lines = [line.strip("\n") for line in provider.splitlines() if line.strip()]
    margin = len(lines[0]) - len(lines[0].lstrip())
    policy = "".join(f"  - {rule}\n" for rule in rules)
    return read_auth("\n".join(line[margin:] for line in lines) + f"\naccess_policy:\n{policy}", environ)


def rule(effect: str = "permit", **scope: str) -> str:
    members = ", ".join(f"{key}: '{value}'" for key, value in {"actions": "read", **scope}.items())
    return f"{effect}: {{{members}}}"


@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_with_several_issuers_a_principal_needs_one(effect: str) -> None:
    policies, found = loaded(SEVERAL, rule(effect, principal="ann", resource="model::a"))
    assert policies is None
    assert codes(found) == ["principal-without-issuer"]
    assert "`ann`" in found[0].message
    assert OWN in found[0].hint
    assert PARTNER in found[0].hint
    policies, found = loaded(SEVERAL, rule(effect, principal="ann", issuer=PARTNER, resource="model::a"))
    assert found == []
    assert policies is not None
    assert (policies.access[0].principal, policies.access[0].issuer) == ("ann", PARTNER)


def test_with_one_issuer_it_may_be_left_out() -> None:
    for scope in ({"principal": "ann"}, {"principal": "ann", "issuer": OWN}, {"issuer": OWN}):
        policies, found = loaded(ONE, rule(resource="model::a", **scope))
        assert (policies is not None, found) == (True, [])


def test_a_list_of_one_is_one() -> None:
    provider = f"provider_config: {{type: oauth2_token, issuers: [{{issuer: {OWN}, jwks: {{uri: '{OWN}/k'}}}}]}}"
    assert loaded(provider, rule(principal="ann", resource="model::a"))[1] == []


@pytest.mark.parametrize(
    ("provider", "issuer"),
    [
        ("{type: kubernetes, api_server_url: https://kube.example:6443}", "https://kube.example:6443"),
        ("{type: kubernetes, api_server_url: https://kube.example/a/}", "https://kube.example/a"),
        ("{type: kubernetes, api_server_url: https://kube.example/a}", "https://kube.example/a/"),
        ("{type: github_token}", GITHUB),
        ("{type: github_token, github_api_base_url: https://git.example/api/v3}", "https://git.example/api/v3"),
        ("{type: custom, endpoint: https://auth.example/validate}", "https://auth.example/validate"),
        ("{type: api_key}", API_KEYS),
        ("{type: oauth2_token, issuer: ostiary-development, jwks: {uri: file://./jwks.json}}", "ostiary-development"),
        (
            "{type: oauth2_token, issuer: https://a.example, introspection: {url: https://x.example}}",
            "https://a.example",
        ),
        ("{type: '${env.AUTH:+kubernetes}', api_server_url: https://kube.example}", "https://kube.example"),
        ("{type: oauth2_token, issuer: '${env.SSO:=https://sso.example}'}", "https://sso.example"),
    ],
)
def test_each_provider_vouches_in_its_name(provider: str, issuer: str) -> None:
    text = f"provider_config: {provider}"
    policies, found = loaded(text, rule(principal="ann", issuer=issuer, resource="model::a"))
    assert (policies is not None, found) == (True, [])
    policies, found = loaded(text, rule("forbid", principal="ann", issuer=f"{issuer}x", resource="model::a"))
    assert (policies, codes(found)) == (None, ["unknown-issuer"])


@pytest.mark.parametrize(
    ("issuer", "hint"),
    [
        ("https://own.exmaple", f"did you mean `{OWN}`?"),
        (f"{OWN}/", f"did you mean `{OWN}`?"),
        ("HTTPS://OWN.EXAMPLE", f"did you mean `{OWN}`?"),
        ("", "write a value, or remove the key"),
        ("x", f"use one of `{OWN}`, `{PARTNER}`"),
    ],
)
def test_an_issuer_that_is_not_configured_stops_the_load(issuer: str, hint: str) -> None:
    policies, found = loaded(SEVERAL, rule("forbid", principal="ann", issuer=issuer, resource="model::a"))
    assert policies is None
    assert [one.hint for one in found] == [hint]


@pytest.mark.parametrize("value", ["[https://own.example]", "{a: b}", "7", "true", "'${env.SSO}'"])
def test_an_issuer_is_one_text(value: str) -> None:
    policies, found = loaded(SEVERAL, f"permit: {{actions: read, principal: ann, issuer: {value}}}")
    assert policies is None
    assert set(codes(found)) <= {"not-a-text", "environment-in-policy"}


def test_where_tokens_are_compared_with_no_issuer_rules_can_name_none() -> None:
    provider = f"provider_config: {{type: oauth2_token, jwks: {{uri: '{OWN}/keys'}}}}"
    rules = [rule(principal=name, resource="model::a") for name in ("ann", "ben")]
    policies, found = loaded(provider, rule(resource="model::b"), *rules)
    assert (policies is not None, codes(found)) == (True, ["any-issuer"])
    assert "`ann` may come from any issuer" in found[0].message
    assert loaded(provider, rule(resource="model::b"))[1] == []
    policies, found = loaded(provider, rule(principal="ann", issuer=OWN, resource="model::a"))
    assert policies is None
    assert "set `issuer` in `provider_config`" in found[0].hint


@pytest.mark.parametrize("address", ["https://own.example/ask?code=canary", "https://ann:canary@own.example"])
def test_no_hint_shows_an_address_that_holds_a_secret(address: str) -> None:
    _, found = loaded(f"provider_config: {{type: custom, endpoint: '{address}'}}", rule(issuer=f"{OWN}/ask"))
    assert "canary" not in str(found)


@pytest.mark.parametrize(
    "provider",
    [
        *["{type: kubernets, api_server_url: 'https://own.example'}", "{type: github_token, github_api_base_url: ''}"],
        *["{type: oauth2_token, issuer: ''}", "{type: kubernetes, api_server_url: ''}"],
    ],
)
def test_a_provider_that_is_refused_makes_no_further_mistake_of_its_rules(provider: str) -> None:
    assert codes(loaded(f"provider_config: {provider}", rule(issuer=OWN))[1]) == []


def test_without_a_provider_no_caller_is_vouched_for() -> None:
    policies, found = loaded("lenient_patterns: false", rule(issuer=OWN, resource="model::a"))
    assert (policies, codes(found)) == (None, ["unknown-issuer"])


def test_several_stay_several_where_their_variables_are_not_set() -> None:
    provider = "provider_config: {type: oauth2_token, issuers: [{issuer: '${env.A}'}, {issuer: '${env.B}'}]}"
    assert codes(loaded(provider, rule(principal="ann", resource="model::a"))[1]) == ["principal-without-issuer"]
    assert loaded(provider, rule(principal="ann", issuer=OWN, resource="model::a"))[1] == []
    known = {"A": OWN, "B": PARTNER}
    assert loaded(provider, rule(principal="ann", issuer=OWN, resource="model::a"), environ=known)[1] == []
    assert codes(loaded(provider, rule(issuer="https://c.example", resource="model::a"), environ=known)[1]) == [
        "unknown-issuer"
    ]


def test_a_provider_that_is_switched_off_keeps_its_issuers() -> None:
    provider = SEVERAL.replace("type: oauth2_token", "type: '${env.AUTH:+oauth2_token}'")
    for environ in ({}, {"AUTH": "on"}):
        assert codes(loaded(provider, rule(principal="ann", resource="model::a"), environ=environ)[1]) == [
            "principal-without-issuer"
        ]
        assert loaded(provider, rule(issuer=OWN, resource="model::a"), environ=environ)[1] == []


def test_a_route_rule_has_no_issuer() -> None:
    text = f"route_policy: [{{permit: {{paths: /v1/models, issuer: {OWN}}}}}]\n{ONE}"
    policies, found = read_auth(text)
    assert policies is None
    assert [one.hint for one in found] == ["it belongs in a rule of `access_policy`"]


@pytest.mark.parametrize(
    ("first", "second", "shadowed"),
    [
        ({"principal": "ann", "issuer": OWN}, {"principal": "ann", "issuer": OWN}, True),
        ({"principal": "ann", "issuer": OWN}, {"principal": "ann", "issuer": PARTNER}, False),
        ({"issuer": OWN}, {"principal": "ann", "issuer": OWN}, True),
        ({"issuer": OWN}, {"principal": "ann", "issuer": PARTNER}, False),
        ({"issuer": OWN}, {"issuer": PARTNER}, False),
        ({"principal": "ann", "issuer": OWN}, {"issuer": OWN}, False),
        ({}, {"issuer": OWN}, True),
        ({"issuer": OWN}, {}, False),
    ],
)
def test_lints_know_that_issuers_are_apart(first: dict[str, str], second: dict[str, str], shadowed: bool) -> None:
    rules = (rule("forbid", resource="model::a", **first), rule(resource="model::a", **second))
    found = codes(loaded(SEVERAL, *rules)[1])
    assert ("shadowed-rule" in found) is shadowed


def test_whoever_an_issuer_vouches_for_is_authenticated() -> None:
    everybody = "{permit: {actions: read, resource: 'model::a'}, when: user is authenticated}"
    found = loaded(SEVERAL, everybody, rule(issuer=OWN, resource="model::a"))[1]
    assert codes(found) == ["shadowed-rule"]


def test_a_permit_for_one_issuer_is_not_for_everyone() -> None:
    changes = rule(actions="delete", issuer=PARTNER, resource="sql_record::openai_files")
    assert loaded(SEVERAL, changes)[1] == []
    everyone = rule(actions="delete", resource="sql_record::openai_files")
    assert codes(loaded(SEVERAL, rule("forbid", actions="delete", issuer=OWN), everyone)[1]) != []


def test_names_that_differ_in_case_are_somebody_else_with_another_issuer() -> None:
    mine = rule(principal="ann", issuer=OWN, resource="model::a")
    for issuer, said in ((OWN, ["differs-in-case"]), (PARTNER, [])):
        found = loaded(SEVERAL, mine, rule(principal="Ann", issuer=issuer, resource="model::b"))[1]
        assert codes(found) == said
