"""Regexes in `resource` and `paths`: invalid ones, long ones, and those that match nothing."""

from __future__ import annotations

import json
import warnings

import pytest

from policy.expressions import fault_of
from policy.regexes import PATTERN_LIMIT
from policy.rules import PathPattern, Regex, ResourcePattern
from tests.support.policy_texts import access_rules, codes, read_auth, route_rules


def resource(text: str) -> tuple[ResourcePattern, list[str]]:
    rules, found = access_rules(f"- permit: {{actions: create, resource: {json.dumps(text)}}}")
    return rules[0].resource, codes(found)


def path(text: str) -> tuple[PathPattern, list[str]]:
    rules, found = route_rules(f"- permit: {{paths: {json.dumps(text)}}}")
    return rules[0].paths[0], [code for code in codes(found) if code not in ("unknown-route", "later-route")]


def test_a_regex_keeps_its_text_and_its_place() -> None:
    pattern, found = resource(r"regex:model::(llama|mistral)-3\.\d+-.*")
    assert isinstance(pattern, Regex)
    assert (pattern.pattern, pattern.valid, found) == (r"model::(llama|mistral)-3\.\d+-.*", True, [])
    assert (pattern.span.line, pattern.span.column) == (4, 45)
    assert path("regex:^/v1/(files|models)(/.*)?$")[1] == []


INVALID = [
    "(",
    "[",
    "a**",
    "(?<n>a)",
    r"\p{L}",
    r"(?P<n>a)(?P<n>b)",
    "(?<=a+)b",
    r"\1",
    "a{99999999999999}",
    "x(?i)y",
    "(" * 4000,
]


@pytest.mark.parametrize("pattern", INVALID)
def test_an_invalid_pattern_in_a_permit_is_a_warning_and_never_matches(pattern: str) -> None:
    found, warned = resource(f"regex:{pattern}")
    assert isinstance(found, Regex)
    assert not found.valid
    assert warned == ["invalid-pattern"]
    in_path, warned = path(f"regex:{pattern}")
    assert isinstance(in_path, Regex)
    assert not in_path.valid
    assert warned == ["invalid-pattern"]


@pytest.mark.parametrize("pattern", INVALID)
def test_an_invalid_pattern_in_a_forbid_stops_the_load(pattern: str) -> None:
    text = json.dumps(f"regex:{pattern}")
    policies, found = read_auth(
        f"access_policy: [{{forbid: {{actions: read, resource: {text}}}}}]\n"
        f"route_policy: [{{forbid: {{paths: [/v1, {text}]}}}}]"
    )
    assert policies is None
    assert codes(found) == ["invalid-pattern", "invalid-pattern"]
    assert {one.severity for one in found} == {"error"}


def test_lenient_patterns_turn_that_into_a_warning() -> None:
    policies, found = read_auth(
        "lenient_patterns: true\n"
        "access_policy: [{forbid: {actions: read, resource: 'regex:('}}]\n"
        "route_policy: [{forbid: {paths: [/v1/files, 'regex:(']}}]"
    )
    assert policies is not None
    assert policies.routes is not None
    assert [
        isinstance(one, Regex) and one.valid for one in (policies.access[0].resource, policies.routes[0].paths[1])
    ] == [
        False,
        False,
    ]
    assert codes(found) == ["invalid-pattern", "invalid-pattern"]
    assert {one.severity for one in found} == {"warning"}


@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_a_pattern_that_is_too_long_is_an_error(effect: str) -> None:
    longest = "model::".ljust(PATTERN_LIMIT, "a")
    policies, _ = read_auth(f"access_policy: [{{{effect}: {{actions: read, resource: 'regex:{longest}'}}}}]")
    assert policies is not None
    policies, found = read_auth(
        f"lenient_patterns: true\naccess_policy: [{{{effect}: {{actions: read, resource: 'regex:{longest}a'}}}}]"
    )
    assert policies is None
    assert codes(found) == ["pattern-too-long"]


def test_patterns_make_python_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fault_of("[[a]&&[b]]") is None


@pytest.mark.parametrize(
    "pattern", ["((a)*+)*+", "(?:a|(b))*+c", "(" * 4000 + ")" * 4000, "a{4294967295}", "[\U0010ffff-\x00]"]
)
def test_no_pattern_makes_the_parser_fail(pattern: str) -> None:
    assert fault_of(pattern) is None or isinstance(fault_of(pattern), str)


@pytest.mark.parametrize(
    ("written", "warned"),
    [
        (r"regex:model::.*-3\\.\\d+-.*", True),
        (r"'regex:model::.*-3\\.\\d+-.*'", True),
        (r'"regex:model::.*-3\\.\\d+-.*"', False),
        (r"regex:model::.*-3\.\d+-.*", False),
        (r"regex:model::\d\\.x", True),
        (r"regex:model::[\\]", True),
        (r"regex:model::\x5c", False),
    ],
)
def test_a_doubled_backslash_is_pointed_out(written: str, warned: bool) -> None:
    rules, found = access_rules(f"- permit:\n    actions: read\n    resource: {written}")
    assert codes(found) == (["doubled-backslash"] if warned else [])
    assert isinstance(rules[0].resource, Regex)
    assert rules[0].resource.valid


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("regex:^modle::llama.*", "did you mean `model`?"),
        ("regex:(?:model|modle)::x$", "did you mean `model`?"),
        ("regex:(?i)MODLE::", "did you mean `model`?"),
        ("regex:sql_records::openai_files::", "did you mean `sql_record`?"),
        ("regex:Model::a", "did you mean `model`?"),
        ("regex:openai_files::.*", "write `sql_record::openai_files::` for records of that table"),
        ("regex:llama-.*", "begin with a type, as in `regex:model::`"),
        ("regex:model:a", "begin with a type, as in `regex:model::`"),
    ],
)
def test_a_regex_of_no_type_is_an_error_in_a_forbid(pattern: str, hint: str) -> None:
    for effect, severity in (("forbid", "error"), ("permit", "warning")):
        rule = f"{{{effect}: {{actions: read, resource: '{pattern}'}}}}"
        _, diagnostics = read_auth(f"access_policy: [{rule}]")
        [found] = [one for one in diagnostics if one.code == "unknown-type"]
        assert (found.severity, found.hint) == (severity, hint)


@pytest.mark.parametrize(
    "pattern",
    [
        *["regex:mod", "regex:(model|vector_db)::", "regex:.*-frozen", "regex:[Mm]odel::a", "regex:(?i)MODEL::a"],
        *[
            "regex:(?!modle)model::a",
            "regex:(?i)\u017fql_record::x",
            "regex:(?:tool|tool_group)::",
            "regex:(?x) model::a",
        ],
    ],
)
def test_nothing_is_said_of_a_regex_that_may_be_about_a_type(pattern: str) -> None:
    rule = f"{{forbid: {{actions: read, resource: '{pattern}'}}}}"
    assert codes(read_auth(f"access_policy: [{rule}]")[1]) == []


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        *[
            ("[Mm]odels::a", True),
            ("models?::x?$", False),
            ("model$", True),
            ("mode[lr]s?::", False),
            ("(x|y)?odel::", True),
        ],
        *[("sql_record::[mn]y_files::", True), ("sql_record::openai_file[sz]::", False), ("[a-z]+::", False)],
        *[("sql_record::openai_files$", True), ("(?i)modle::", True), ("(?i)[Mm]odels::", False), ("model::a$", False)],
    ],
)
def test_a_regex_that_no_resource_matches_is_pointed_out_once(pattern: str, said: bool) -> None:
    _, found = access_rules(f"- permit: {{actions: create, resource: {json.dumps('regex:' + pattern)}}}")
    about = [code for code in codes(found) if code in ("unknown-type", "unknown-table")]
    assert about == (["unknown-type"] if said else [])


@pytest.mark.parametrize("end", ["$", r"\Z"])
def test_a_table_without_a_name_behind_it_gets_its_own_hint(end: str) -> None:
    text = f"regex:sql_record::(openai_files|responses){end}"
    _, found = access_rules(f"- permit: {{actions: create, resource: {json.dumps(text)}}}")
    assert [one.hint.split(";")[0] for one in found] == ["a type is followed by `::` and a name"]
