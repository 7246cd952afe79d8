"""Attributes that no caller has, subjects that are roles, and resources that no rule is about."""

from __future__ import annotations

import pytest

from policy.source.diagnostics import Diagnostic
from tests.support.policy_texts import codes, read, read_auth

ROLES = "access_policy: [{permit: {actions: read}, when: user with admin in roles}]"


def found(auth: str, **environ: str) -> list[Diagnostic]:
    policies, diagnostics = read_auth(auth, environ)
    assert policies is not None, diagnostics
    return diagnostics


def asking_for(attribute: str, provider: str = "") -> list[Diagnostic]:
    condition = f"user in owners {attribute}"
    return found(f"{provider}\naccess_policy: [{{permit: {{actions: read}}, when: {condition}}}]")


@pytest.mark.parametrize("attribute", ["roles", "teams", "projects", "namespaces"])
def test_the_attributes_of_the_default_mapping_are_known(attribute: str) -> None:
    assert asking_for(attribute) == []
    assert asking_for(attribute, "provider_config: {type: custom}") == []
    assert asking_for(attribute, "provider_config: {type: oauth2_token, claims_mapping: }") == []


def test_an_attribute_that_no_claim_becomes_is_pointed_out_once() -> None:
    (only,) = asking_for("team")
    assert (only.code, only.hint) == (
        "unknown-attribute",
        "did you mean `teams`? if not, map a claim to it in `claims_mapping`",
    )
    rule = "{permit: {paths: /v1/models}, when: user with a in team}"
    (only,) = found(f"route_policy: [{rule}, {rule.replace('permit', 'forbid')}]".replace("/v1/models", "/v1/a"))[:1]
    assert only.span.line == 3
    assert codes(
        found(f"route_policy: [{rule}]\naccess_policy: [{{permit: {{actions: read}}, when: user in owners team}}]")
    ) == ["unknown-attribute"]


def test_a_mapping_of_ones_own_replaces_the_default() -> None:
    provider = "provider_config: {type: oauth2_token, claims_mapping: {groups: departments, realm.roles: roles}}"
    assert asking_for("departments", provider) == []
    assert asking_for("roles", provider) == []
    assert codes(asking_for("teams", provider)) == ["unknown-attribute"]


def test_of_several_issuers_the_attributes_of_each_are_known() -> None:
    one, other = "{claims_mapping: {groups: teams}}", "{claims_mapping: {groups: partners, sub: roles}}"
    provider = f"provider_config: {{type: oauth2_token, issuers: [{one}, {other}]}}"
    assert asking_for("teams", provider) == []
    assert asking_for("partners", provider) == []
    assert codes(asking_for("projects", provider)) == ["unknown-attribute"]
    assert codes(found(f"{provider}\n{ROLES}")) == ["subject-is-role"]


def test_where_no_claim_becomes_anything_no_other_attribute_is_offered() -> None:
    (only,) = asking_for("teams", "provider_config: {type: oauth2_token, claims_mapping: {}}")
    assert (only.code, only.hint) == ("unknown-attribute", "map a claim to it in `claims_mapping`")


def test_a_rule_for_one_issuer_asks_for_what_that_one_maps() -> None:
    issuers = """
      - {issuer: "https://a.example", jwks: {uri: "https://a.example/keys"}}
      - {issuer: "https://b.example", jwks: {uri: "https://b.example/keys"}, claims_mapping: {groups: partners}}
    """
    provider = f"provider_config:\n  type: oauth2_token\n  issuers:{issuers}"
    rule = "{permit: {actions: read, issuer: 'https://%s.example'}, when: user with x in %s}"
    assert found(f"{provider}\naccess_policy: [{rule % ('b', 'partners')}, {rule % ('a', 'teams')}]") == []
    said = found(f"{provider}\naccess_policy: [{rule % ('a', 'partners')}, {rule % ('b', 'teams')}]")
    assert [one.message.partition(",")[0] for one in said] == [
        "no caller of `https://a.example` has the attribute `partners`",
        "no caller of `https://b.example` has the attribute `teams`",
    ]
    assert "use one of `namespaces`, `projects`, `roles`, `teams`" in said[0].hint
    (only,) = found(f"{provider}\naccess_policy: [{rule % ('a', 'groupz')}, {rule % ('b', 'groupz')}]")
    assert only.message.startswith("no caller has the attribute `groupz`")


@pytest.mark.parametrize("mapping", ["{groups: '${env.ATTRIBUTE:=teams}'}", "[groups]", "{groups: [teams]}"])
def test_nothing_is_said_of_a_mapping_that_varies_or_is_malformed(mapping: str) -> None:
    assert asking_for("anything", f"provider_config: {{type: oauth2_token, claims_mapping: {mapping}}}") == []


def test_a_subject_that_is_a_role_is_pointed_out_with_the_mapping_to_write() -> None:
    (only,) = found(f"provider_config: {{type: oauth2_token}}\n{ROLES}")
    assert only.code == "subject-is-role"
    assert "`access_policy[0]` (line 4)" in only.message
    assert only.hint.startswith("write `claims_mapping: {roles: roles, groups: teams, ")
    hint = only.hint.removeprefix("write `").removesuffix("`")
    assert found(f"provider_config: {{type: oauth2_token, {hint}}}\n{ROLES}") == []


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ("{type: oauth2_token}", True),
        ("{type: '${env.PROVIDER:+oauth2_token}'}", True),
        ("{type: oauth2_token, claims_mapping: {sub: roles}}", True),
        ("{type: kubernetes, claims_mapping: {username: roles, groups: roles}}", True),
        ("{type: oauth2_token, claims_mapping: {sub: subjects, groups: roles}}", False),
        ("{type: oauth2_token, claims_mapping: {groups: roles}}", False),
        ("{type: custom}", False),
        ("{type: '${env.UNSET:+oauth2_token}'}", False),
    ],
)
def test_whether_the_subject_is_a_role(provider: str, expected: bool) -> None:
    assert codes(found(f"provider_config: {provider}\n{ROLES}", PROVIDER="1")) == ["subject-is-role"] * expected


@pytest.mark.parametrize(
    ("issuers", "line"),
    [
        (["{issuer: a, claims_mapping: {groups: teams}}", "{issuer: b, claims_mapping: {sub: roles}}"], 7),
        (["{issuer: a, claims_mapping: {sub: roles}}", "{issuer: b, claims_mapping: {groups: teams}}"], 6),
        (["{issuer: a, claims_mapping: {groups: roles}}", "{issuer: b}"], 7),
        (["{issuer: a}", "{issuer: b, claims_mapping: {groups: teams}}"], 6),
    ],
)
def test_of_several_issuers_the_one_whose_subject_is_a_role_is_pointed_out(issuers: list[str], line: int) -> None:
    listed = "".join(f"    - {issuer}\n" for issuer in issuers)
    (only,) = found(f"provider_config:\n    type: oauth2_token\n    issuers:\n{listed}{ROLES}")
    assert (only.code, only.span.line) == ("subject-is-role", line)
    is_default = "claims_mapping" not in issuers[line - 6]
    assert only.hint.startswith("write `claims_mapping: {roles: roles," if is_default else "write `sub: subjects`")


def test_it_does_not_matter_where_no_rule_asks_for_roles() -> None:
    rule = ROLES.replace("in roles", "in teams")
    assert found(f"provider_config: {{type: oauth2_token}}\n{rule}") == []


@pytest.mark.parametrize(
    ("served", "resource", "missing"),
    [
        ("models: [{model_id: a}]", "prompt::*", "`model`"),
        ("apis: [inference, vector_io]", "model::a", "`vector_store`"),
        ("apis: [inference, vector_io]", "regex:vector_db::.*", None),
        ("apis: [inference]", "prompt::*", None),
        ("apis: [inference, safety]", "prompt::*", None),
        ("apis: [inference]\nmodels: []", "prompt::*", None),
        ("apis: [inference]\nmodels: [{model_id: a}]", "prompt::*", "`model`"),
        ("models: [{model_id: '${env.MODEL:=__disabled__}'}]", "prompt::*", None),
        ("models: [{model_id: '${env.MODEL:__disabled__}'}, {model_id: b}]", "prompt::*", "`model`"),
        ("shields: [{shield_id: '${env.SHIELD:=__disabled__}'}]", "prompt::*", None),
        ("shields: [{shield_id: a}]", "prompt::*", "`shield`"),
        (
            "apis: [agents]",
            "sql_record::openai_conversations",
            "`sql_record::conversation_items`, `sql_record::responses`",
        ),
        ("apis: [agents]", "sql_record::*", None),
        ("apis: [inference]", "model::*", None),
        ("apis: [inference]", "*", None),
        ("apis: [inference]", "regex:.*::a$", None),
        ("apis: [unheard_of]", "model::*", None),
        ("models: []", "prompt::*", None),
        ("version: 2", "prompt::*", None),
    ],
)
def test_a_type_that_is_served_and_that_no_rule_mentions(served: str, resource: str, missing: str | None) -> None:
    policy = f"server: {{auth: {{access_policy: [{{permit: {{actions: create, resource: '{resource}'}}}}]}}}}"
    policies, diagnostics = read(f"{served}\n{policy}\n")
    assert policies is not None
    assert codes(diagnostics) == (["unmentioned-type"] if missing else [])
    assert missing is None or f"of type {missing}, and no rule" in diagnostics[0].message


def test_the_default_policy_is_not_looked_at() -> None:
    assert read("apis: [inference]\nserver: {auth: {provider_config: {type: oauth2_token}}}\n")[1] == []


@pytest.mark.parametrize(
    ("provider", "by", "hints"),
    [
        ("{type: oauth2_token}", "teams", []),
        ("{type: oauth2_token}", "team", ["did you mean `teams`?"]),
        ("{type: oauth2_token, claims_mapping: {groups: departments}}", "teams", ["use `departments`"]),
        ("{type: oauth2_token, issuers: [{claims_mapping: {a: one}}, {claims_mapping: {b: two}}]}", "two", []),
        ("{type: custom}", "anything", []),
        ("{type: oauth2_token}", "${env.BY:=team}", []),
    ],
)
def test_an_attribute_that_can_not_be_shared_by_is_pointed_out(provider: str, by: str, hints: list[str]) -> None:
    text = f"""\
server:
  fairness: {{by: "{by}"}}
  auth:
    provider_config: {provider}
    access_policy: [{{permit: {{actions: read, resource: model::*}}}}]
"""
    policies, diagnostics = read(text)
    assert policies is not None
    about = [one for one in diagnostics if one.code == "unknown-attribute"]
    assert [(one.span.line, one.hint) for one in about] == [(2, hint) for hint in hints]
