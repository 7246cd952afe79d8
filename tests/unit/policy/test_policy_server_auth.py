"""`server.auth`: where the policies stand, and whether authentication is configured."""

from __future__ import annotations

import pytest

from policy.parser import default_access_policy
from policy.rules import Conditions, Everything, IsAuthenticated, IsFromConfig, IsOwner
from policy.vocabulary import Action, Effect
from tests.support.policy_texts import codes, read, read_auth

ACCESS = "access_policy: [{permit: {actions: read}}]\n"
ROUTES = "route_policy: [{permit: {paths: '*'}}]\n"


@pytest.mark.parametrize("text", ["version: 2", "server: {}", "server:", "server: {auth: {}}", "server: {auth: }"])
def test_without_policies_the_default_one_holds_and_every_route_is_allowed(text: str) -> None:
    policies, found = read(text)
    assert policies is not None
    assert (policies.authentication, policies.access_name, policies.routes) == (False, "default_policy", None)
    assert policies.access == default_access_policy()
    assert found == []


def test_policies_of_a_file_replace_the_default() -> None:
    policies, _ = read_auth(ACCESS + ROUTES)
    assert policies is not None
    assert (policies.access_name, len(policies.access)) == ("access_policy", 1)
    assert policies.routes is not None
    assert len(policies.routes) == 1


def test_the_default_policy_is_the_one_of_the_language() -> None:
    read_config, protect_config, create, own = default_access_policy()
    assert {rule.span.file for rule in default_access_policy()} == {"default.yaml"}
    assert {rule.resource for rule in default_access_policy()} == {Everything()}
    assert (read_config.effect, read_config.actions) == (Effect.PERMIT, (Action.READ,))
    assert isinstance(read_config.conditions, Conditions)
    assert read_config.conditions.conditions == (IsAuthenticated(), IsFromConfig())
    assert (protect_config.effect, protect_config.actions) == (
        Effect.FORBID,
        (Action.CREATE, Action.UPDATE, Action.DELETE),
    )
    assert (create.effect, create.actions) == (Effect.PERMIT, (Action.CREATE,))
    assert own.actions == (Action.READ, Action.UPDATE, Action.DELETE)
    assert isinstance(own.conditions, Conditions)
    assert own.conditions.conditions == (IsOwner(negated=False),)


@pytest.mark.parametrize(
    ("provider", "environ", "configured"),
    [
        ("{type: oauth2_token}", {}, True),
        ("{type: '${env.AUTH:+oauth2_token}', jwks: {uri: '${env.KEYCLOAK_URL}'}}", {}, False),
        ("{type: '${env.AUTH:+oauth2_token}'}", {"AUTH": ""}, False),
        ("{type: '${env.AUTH:+oauth2_token}'}", {"AUTH": "anything"}, True),
        ("{type: '${env.AUTH:=}'}", {}, False),
        ("{type: '${env.AUTH:=custom}'}", {}, True),
        ("{type: '${env.AUTH}'}", {"AUTH": "custom"}, True),
        ("null", {}, False),
        ("'${env.PROVIDER:+x}'", {}, False),
    ],
)
def test_authentication_is_configured_where_the_provider_has_a_type(
    provider: str, environ: dict[str, str], configured: bool
) -> None:
    policies, found = read_auth(f"provider_config: {provider}\n", environ)
    assert policies is not None
    assert policies.authentication is configured
    assert found == []


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ("{}", ["missing-key"]),
        ("{audience: a}", ["missing-key"]),
        ("{type: }", ["not-a-text"]),
        ("{type: 5}", ["not-a-text"]),
        ("{type: [oauth2_token]}", ["not-a-text"]),
        ("{type: '${env.AUTH}'}", ["missing-variable"]),
        ("{type: '${env.AUTH'}", ["invalid-expression"]),
        ("[oauth2_token]", ["not-a-mapping"]),
        ("oauth2_token", ["not-a-mapping"]),
    ],
)
def test_a_provider_that_cannot_be_understood_never_means_no_authentication(provider: str, expected: list[str]) -> None:
    policies, found = read_auth(f"provider_config: {provider}\n")
    assert policies is None
    assert codes(found) == expected


def test_a_type_that_is_a_variables_own_value_is_pointed_out_where_that_is_set() -> None:
    text = "provider_config: {type: '${env.AUTH:+}'}"
    policies, found = read_auth(text, {"AUTH": "custom"})
    assert policies is not None
    assert policies.authentication
    assert codes(found) == ["empty-conditional"]
    policies, found = read_auth(text, {})
    assert policies is not None
    assert not policies.authentication
    assert codes(found) == []


@pytest.mark.parametrize("key", ["access_policy", "route_policy"])
@pytest.mark.parametrize(
    ("value", "code"), [("", "not-a-list"), ("{}", "not-a-list"), ("all", "not-a-list"), ("[]", "empty-list")]
)
def test_a_policy_is_a_list_of_rules(key: str, value: str, code: str) -> None:
    policies, found = read_auth(f"{key}: {value}")
    assert policies is None
    assert codes(found) == [code]


@pytest.mark.parametrize(
    "text",
    [
        "access_policy: [{permit: {actions: read}}]",
        "route_policy: []",
        "server: {access_policy: [{permit: {actions: read}}]}",
        "server: {auth: {provider_config: {type: custom, route_policy: []}}}",
        "auth: {access_policy: [{permit: {actions: read}}]}",
    ],
)
def test_a_policy_in_the_wrong_place_is_never_ignored(text: str) -> None:
    policies, found = read(text)
    assert policies is None
    assert codes(found) == ["misplaced-key"]


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("servers: {auth: {route_policy: []}}", "servers", "server"),
        ("Server: {auth: {route_policy: []}}", "Server", "server"),
        ("server: {authz: {route_policy: []}}", "authz", "auth"),
        ("server: {AUTH: {route_policy: []}}", "AUTH", "auth"),
    ],
)
def test_policies_below_a_misspelt_section_do_not_count_as_missing(text: str, key: str, meant: str) -> None:
    policies, found = read(text)
    assert policies is None
    assert [(one.code, one.hint) for one in found] == [("unknown-key", f"did you mean `{meant}`?")]
    assert f"`{key}` is not a key of" in found[0].message


def test_other_sections_are_no_misspellings() -> None:
    others = "version: 2\nproviders: {}\nmodels: []\nshields: []\nstorage: {}\napis: []\n"
    assert read(f"{others}server: {{port: 1, cors: true, host: a}}")[1] == []


def test_unknown_keys_are_errors_with_a_suggestion() -> None:
    policies, found = read_auth("acces_policy: []\nrequire: true")
    assert policies is None
    assert [(one.code, one.hint) for one in found] == [("unknown-key", "did you mean `access_policy`?")]


@pytest.mark.parametrize("text", ["server: 5", "server: []", "server: {auth: yes}"])
def test_sections_are_mappings(text: str) -> None:
    policies, found = read(text)
    assert policies is None
    assert codes(found) == ["not-a-mapping"]


@pytest.mark.parametrize(
    ("value", "environ", "lenient"),
    [("true", {}, True), ("false", {}, False), ("'true'", {}, True), ("'${env.L:=false}'", {}, False),
     ("'${env.L:=false}'", {"L": "true"}, True), ("'${env.L:+true}'", {}, False)],
)  # fmt: skip
def test_lenient_patterns_is_a_boolean(value: str, environ: dict[str, str], lenient: bool) -> None:
    forbid = "access_policy: [{forbid: {actions: read, resource: 'regex:('}}]"
    policies, _ = read_auth(f"lenient_patterns: {value}\n{forbid}", environ)
    assert (policies is not None) is lenient


@pytest.mark.parametrize("value", ["1", "maybe", "[true]", "", "'${env.L}'"])
def test_lenient_patterns_is_nothing_else(value: str) -> None:
    policies, found = read_auth(f"lenient_patterns: {value}\n{ACCESS}")
    assert policies is None
    assert set(codes(found)) <= {"not-a-boolean", "missing-variable"}


def test_tables_that_the_configuration_names_are_known() -> None:
    policies, found = read(
        """
        providers:
          agents:
            - config: {persistence: {responses: {table_name: "${env.TABLE:=my_responses}"}}}
        storage:
          stores:
            inference: {table_name: inference_store}
            other: {table_name: "${env.MISSING}"}
            odd: {table_name: "${env."}
        server:
          auth:
            access_policy:
              - permit: {actions: create, resource: "sql_record::my_responses::*"}
              - permit: {actions: create, resource: "sql_record::inference_store"}
        """
    )
    assert policies is not None
    assert found == []
