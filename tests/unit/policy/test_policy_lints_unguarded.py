"""Permits for everyone: which are found, in which words, and which are let be."""

from __future__ import annotations

import pytest

from policy.source.diagnostics import Diagnostic
from tests.support.policy_texts import codes, read_auth

UNGUARDED = {"unguarded-everything", "unguarded-records", "unguarded-change"}
RECORDS = "this rule lets every caller {} every stored record, no matter who owns it"


def found(*rules: str, auth: str = "") -> list[Diagnostic]:
    listed = "".join(f"- {{{rule}}}\n" for rule in rules)
    policies, diagnostics = read_auth(f"{auth}access_policy:\n{listed}")
    assert policies is not None, diagnostics
    return [one for one in diagnostics if one.code in UNGUARDED]


def message(*rules: str, auth: str = "") -> str:
    return "; ".join(one.message for one in found(*rules, auth=auth))


@pytest.mark.parametrize(
    "scope",
    [
        "resource: 'sql_record::*'",
        "resource: 'sql_record::'",
        "resource: '*'",
        "resource: 'regex:.*'",
        "resource: 'regex:sql_record::.*'",
        "resource: 'regex:^sql_record::.*$'",
        r"resource: 'regex:\Asql_record::\w+::.+'",
        "resource: 'regex:(model|sql_record|prompt)::'",
        "",
    ],
)
@pytest.mark.parametrize("actions", ["read", "[create, read]", "[read, update]", "[delete]", "[read, update, delete]"])
def test_every_record_is_open_to_everyone(scope: str, actions: str) -> None:
    verbs = [verb for verb in ("read", "update", "delete") if verb in actions]
    named = " and ".join([", ".join(verbs[:-1]), verbs[-1]]) if len(verbs) > 1 else verbs[0]
    assert message(f"permit: {{actions: {actions}, {scope}}}") == RECORDS.format(named)


@pytest.mark.parametrize(
    ("resource", "tables"),
    [
        ("sql_record::responses", "`responses`"),
        ("sql_record::openai_files::*", "`openai_files`"),
        ("regex:sql_record::(openai_files|responses)::.*", "`responses` and `openai_files`"),
        ("regex:sql_record::openai_.*", "`openai_conversations` and `openai_files`"),
        ("regex:sql_record::openai_", "`openai_conversations` and `openai_files`"),
        ("regex:sql_record::openai_files::file-.*", None),
        ("regex:sql_record::.*x$", None),
        ("regex:sql_record::(?!responses).*", None),
        ("regex:model::.*", None),
        ("sql_record::responses::resp_1", None),
        ("sql_record::respones", None),
        ("prompt::*", None),
        ("model::*", None),
    ],
)
def test_a_single_table_is_named(resource: str, tables: str | None) -> None:
    said = message(f"permit: {{actions: read, resource: '{resource}'}}")
    assert said == ("" if tables is None else RECORDS.format("read").replace("stored record", f"record of {tables}"))


@pytest.mark.parametrize(
    ("clause", "open_to_all"),
    [
        ("when: user is authenticated", True),
        ("when: user is not owner", True),
        ("when: [user is authenticated, user is not owner]", True),
        ("unless: user is owner", True),
        ("unless: [user is owner, user with a in roles]", True),
        ("unless: resource is unowned", True),
        ("unless: resource is from config", True),
        ("unless: [user with a in roles, user with a not in roles]", True),
        ("when: user with a not in groupz", True),
        ("when: user not in owners groupz", True),
        ("when: user is owner", False),
        ("when: user with a in roles", False),
        ("when: user with a not in roles", False),
        ("when: user with a in groupz", False),
        ("when: user in owners teams", False),
        ("when: user not in owners teams", False),
        ("when: resource is unowned", False),
        ("when: resource is from config", False),
        ("unless: user is authenticated", False),
        ("unless: [user with a in roles, user with b not in roles]", False),
    ],
)
def test_a_condition_that_everyone_meets_guards_nothing(clause: str, open_to_all: bool) -> None:
    said = message(f"permit: {{actions: read, resource: 'sql_record::*'}}, {clause}")
    assert said == (RECORDS.format("read") if open_to_all else "")


def test_where_callers_may_have_any_attribute_a_condition_about_one_guards() -> None:
    rule = "permit: {actions: read}, when: user with a not in groupz"
    assert message(rule, auth="provider_config: {type: custom}\n") == ""


@pytest.mark.parametrize(
    ("earlier", "exceptions"),
    [
        ("forbid: {actions: read, resource: 'sql_record::*'}, unless: user is owner", None),
        ("forbid: {actions: read, resource: 'regex:sql_record::.*'}, unless: user is owner", None),
        ("forbid: {actions: read}, unless: user with admin in roles", None),
        ("forbid: {actions: read}, when: user is not owner", None),
        ("forbid: {actions: read}, when: user with a not in roles", None),
        ("forbid: {actions: read}, when: user with a in roles", "what `access_policy[0]` (line 4) forbids"),
        ("forbid: {actions: read, principal: ann}", "what `access_policy[0]` (line 4) forbids"),
        ("forbid: {actions: read, resource: 'sql_record::responses'}", "what `access_policy[0]` (line 4) forbids"),
        ("forbid: {actions: read, resource: 'sql_record::responses::a'}", "what `access_policy[0]` (line 4) forbids"),
        ("forbid: {actions: read, resource: 'model::*'}", ""),
        ("forbid: {actions: delete}", ""),
        ("forbid: {actions: read}, when: user is owner", ""),
        ("forbid: {actions: read}, when: resource is from config", ""),
        ("permit: {actions: read}, when: user is owner", ""),
    ],
)
def test_what_earlier_rules_forbid_is_an_exception_or_all_of_it(earlier: str, exceptions: str | None) -> None:
    said = message(earlier, "permit: {actions: read}")
    tail = f", but for {exceptions}" if exceptions else ""
    assert said == ("" if exceptions is None else f"{RECORDS.format('read')}{tail}")


def test_a_guardrail_may_forbid_some_of_it() -> None:
    said = message("permit: {actions: read}", auth="guardrails: rego\n")
    assert said == f"{RECORDS.format('read')}, but for what a guardrail forbids"


@pytest.mark.parametrize("scope", ["", "resource: '*'", "resource: 'regex:.*'", "resource: 'regex:.*::.+'"])
def test_everyone_may_do_everything(scope: str) -> None:
    rule = f"permit: {{actions: [create, read, update, delete], {scope}}}"
    assert codes(found(rule)) == ["unguarded-everything"]
    assert codes(found(f"{rule}, when: user is authenticated")) == ["unguarded-everything"]
    assert codes(found(f"{rule}, when: user is not owner")) == ["unguarded-records"]
    assert codes(found(f"{rule}, when: user with admin in roles")) == []
    assert codes(found("forbid: {actions: [update, delete]}, unless: user is owner", rule)) == ["unguarded-records"]
    assert codes(found("forbid: {actions: [read, update, delete]}, unless: user is owner", rule)) == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("permit: {actions: [create, update], resource: 'prompt::*'}", True),
        ("permit: {actions: delete, resource: 'prompt::*'}", True),
        ("permit: {actions: delete, resource: 'model::a'}", True),
        ("permit: {actions: delete, resource: 'sql_record::responses::resp_1'}", True),
        ("permit: {actions: delete, resource: 'prompt::*'}, when: user is authenticated", True),
        ("permit: {actions: [create, read], resource: 'prompt::*'}", False),
        ("permit: {actions: delete, principal: ann}", False),
        ("permit: {actions: delete}, when: user is owner", False),
        ("permit: {actions: delete, resource: 'prompt::*'}, unless: user is owner", False),
        ("permit: {actions: delete}, unless: user with guest in roles", False),
        ("forbid: {actions: delete}", False),
    ],
)
def test_a_permit_for_everyone_to_change_things(rule: str, expected: bool) -> None:
    assert codes(found(rule)) == ["unguarded-change"] * expected


def test_a_change_that_an_earlier_rule_forbids_all_but_owners_is_guarded() -> None:
    forbid = "forbid: {actions: update, resource: 'prompt::*'}, unless: user is owner"
    assert found(forbid, "permit: {actions: update, resource: 'prompt::*'}") == []
    assert found(forbid, "permit: {actions: update, resource: 'prompt::a'}") == []
    assert codes(found(forbid, "permit: {actions: update, resource: 'tool::a'}")) == ["unguarded-change"]


def test_changes_of_all_but_records_are_named_with_the_exception() -> None:
    forbid = "forbid: {actions: update, resource: 'sql_record::*'}, unless: user is owner"
    said = message(forbid, "permit: {actions: update}")
    assert said == (
        "this rule lets every caller update, no matter who owns the resource, "
        "but for what `access_policy[0]` (line 4) forbids"
    )


def test_a_rule_that_never_decides_opens_nothing() -> None:
    assert found("forbid: {actions: read}", "permit: {actions: read}") == []
    first = "permit: {actions: read}"
    assert [one.span.line for one in found(first, first)] == [4]
