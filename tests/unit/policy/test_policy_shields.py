"""`shields` beside a rule: where they may stand, and which of them there are."""

from __future__ import annotations

from textwrap import indent

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document

HEAD = """\
shields:
- {shield_id: guard, provider_id: p}
- {provider_shield_id: abc, provider_id: p}
- {shield_id: idle, provider_id: "${env.ON:+p}"}
- {shield_id: "${env.NAME:=named}", provider_id: p}
server:
  auth:
    provider_config: {type: oauth2_token, jwks: {uri: "https://a.example/keys"}, audience: a}
"""


def read(rule: str, policy: str = "access_policy", head: str = HEAD) -> tuple[list[str], tuple[str, ...]]:
    """The errors, and the shields of the rule."""
    findings = Findings()
    text = f"{head}    {policy}:\n{indent(rule, '    ')}"
    policies = read_policies(parse_document(text, "config.yaml"), {}, findings)
    errors = [f"{found.message}; {found.hint}" for found in findings.diagnostics if str(found.severity) == "error"]
    if policies is None:
        return errors, ()
    rules = policies.access if policy == "access_policy" else policies.routes or ()
    return errors, rules[0].shields


@pytest.mark.parametrize("resource", ["model::a", "model::*", "regex:model::(a|b).*", "regex:^model::x"])
@pytest.mark.parametrize("shields", ["guard", "[guard, abc, named]"])
def test_they_stand_beside_a_permit_to_read_models(resource: str, shields: str) -> None:
    errors, found = read(f"- permit: {{actions: [read], resource: '{resource}'}}\n  shields: {shields}")
    assert errors == []
    assert found == (("guard",) if shields == "guard" else ("guard", "abc", "named"))


@pytest.mark.parametrize(
    "scope",
    [
        "{actions: [read]}",
        "{actions: [read, create], resource: 'model::*'}",
        "{actions: [delete], resource: 'model::*'}",
        "{actions: [read], resource: '*'}",
        "{actions: [read], resource: 'vector_store::*'}",
        "{actions: [read], resource: 'regex:(model|prompt)::.*'}",
        "{actions: [read], resource: 'regex:.*'}",
    ],
)
def test_nothing_else_has_shields_that_nothing_would_discharge(scope: str) -> None:
    [error], _ = read(f"- permit: {scope}\n  shields: [guard]")
    assert error.startswith("`shields` stand beside a permit to `read` a `model`")


@pytest.mark.parametrize(
    ("shields", "sentence"),
    [
        ("[gard]", "no shield of the configuration is called `gard`; did you mean `guard`?"),
        ("[idle]", "the shield `idle` is switched off, and this rule requires it; switch it on, or leave it out here"),
        ("[]", "`shields` is an empty list; write at least one value"),
        ("{a: b}", "`shields` takes a text or a list of texts, not a mapping; "),
        ("[7]", '`7` is a number in YAML, and `shields` takes text; write it in quotes: `"7"`'),
    ],
)
def test_a_shield_that_there_is_not_stops_the_start(shields: str, sentence: str) -> None:
    assert read(f"- permit: {{actions: [read], resource: 'model::*'}}\n  shields: {shields}")[0] == [sentence]


def test_a_forbid_has_none() -> None:
    [error], _ = read("- forbid: {actions: [read], resource: 'model::*'}\n  shields: [guard]")
    assert error == "`shields` stand beside a `permit`: what is forbidden needs none; leave them out"
    [error], _ = read("- permit: {actions: [read], resource: 'model::*', shields: [guard]}")
    assert error == "`shields` stands in the wrong place; move it out one level, beside `permit`"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "[/v1/responses, /v1/embeddings]"])
def test_they_stand_beside_paths_that_run_models(path: str) -> None:
    assert read(f"- permit: {{paths: {path}}}\n  shields: [guard]", "route_policy") == ([], ("guard",))


@pytest.mark.parametrize("path", ["'*'", "'/v1/chat*'", "/v1/models", "/v1/moderations", "[/v1/responses, /v1/files]"])
def test_other_paths_have_none(path: str) -> None:
    [error], _ = read(f"- permit: {{paths: {path}}}\n  shields: [guard]", "route_policy")
    assert error.startswith("`shields` stand beside paths that run a model, each written out; write ")


def test_without_authentication_no_access_rule_holds_and_so_none_may_require_shields() -> None:
    head = HEAD.partition("    provider_config")[0]
    [error], _ = read("- permit: {actions: [read], resource: 'model::*'}\n  shields: [guard]", head=head)
    assert error.startswith("this rule requires shields, and without authentication no access rule holds")
    assert read("- permit: {paths: /v1/completions}\n  shields: [guard]", "route_policy", head)[0] == []
