"""Size, and input that nobody would write."""

from __future__ import annotations

import json
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from policy.conditions import FORMS
from policy.parser import read_policies
from policy.source.diagnostics import Findings, InvalidDocument, Severity
from policy.source.document import parse_document
from policy.source.environment import substitute
from policy.source.rendering import as_json, render

RULE = """
      - permit:
          principal: user-{0}
          actions: [create, read, delete]
          resource: model::model-{0}
        when:
          - user with role-{0} in roles
          - user in owners teams
        description: user-{0} has full access"""

fuzz = settings(max_examples=150, deadline=None, derandomize=True)


def test_ten_thousand_rules_parse_in_seconds() -> None:
    text = "server:\n  auth:\n    access_policy:" + "".join(RULE.format(number) for number in range(10_000))

    def seconds() -> float:
        findings = Findings()
        start = time.process_time()
        policies = read_policies(parse_document(text, "c.yaml"), {}, findings)
        taken = time.process_time() - start
        assert policies is not None
        assert len(policies.access) == 10_000
        assert findings.diagnostics == []
        return taken

    # About one second on an idle machine; anything quadratic takes minutes.
    assert seconds() < 10


def outcome(text: str) -> None:
    """Whatever the text is, it gives policies or errors with a place, and both renderings work."""
    findings = Findings()
    try:
        policies = read_policies(parse_document(text, "c.yaml"), {}, findings)
    except InvalidDocument as invalid:
        policies, found = None, list(invalid.diagnostics)
    else:
        found = findings.diagnostics
    assert (policies is None) is any(one.severity is Severity.ERROR for one in found)
    lines = text.split("\n")
    for one in found:
        assert 1 <= one.span.line <= len(lines)
        assert 1 <= one.span.column <= len(lines[one.span.line - 1]) + 2
        assert one.message
        assert "\n" not in one.message + one.hint
        json.dumps(as_json(one))
    assert "\x1b" not in render(found, {"c.yaml": text}, color=False)


@given(st.text(alphabet="ab:- \n\t\"'[]{},*&!|>#%@`?~<\\=0.\ufeff\x85é", max_size=60))
@fuzz
def test_any_text_is_a_document_or_a_diagnostic(text: str) -> None:
    outcome(text)


KEYS = [
    "permit", "forbid", "when", "unless", "description", "actions", "principal", "resource", "paths", "methods",
    "type", "provider_config", "lenient_patterns", "access_policy", "route_policy",
]  # fmt: skip
WORDS = [
    "user", "with", "is", "not", "in", "owner", "owners", "roles", '"', "'", "admin", "resource", "from", "config",
]  # fmt: skip

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["read", "*", "model::a", "/v1", *FORMS])
    | st.text(max_size=12)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)


@given(values, values)
@fuzz
def test_any_value_is_a_policy_or_a_diagnostic(access: object, routes: object) -> None:
    policy = {"server": {"auth": {"access_policy": access, "route_policy": routes}}}
    outcome(json.dumps(policy, ensure_ascii=False))


@given(st.sampled_from(["resource", "principal"]), st.text(min_size=1, max_size=30), st.booleans())
@fuzz
def test_any_text_in_a_rule_is_a_pattern_or_a_diagnostic(key: str, text: str, regex: bool) -> None:
    value = json.dumps(("regex:" if regex else "") + text, ensure_ascii=False)
    outcome(f"server: {{auth: {{access_policy: [{{permit: {{actions: read, {key}: {value}}}}}]}}}}")


@given(st.lists(st.sampled_from(WORDS), max_size=8))
@fuzz
def test_any_words_are_a_condition_or_a_diagnostic(words: list[str]) -> None:
    value = json.dumps(" ".join(words))
    outcome(f"server: {{auth: {{access_policy: [{{permit: {{actions: read}}, when: {value}}}]}}}}")


@given(st.text(alphabet="${}env.:=+-A1_ ", max_size=40), st.dictionaries(st.sampled_from(["A", "_", "A1"]), st.text()))
@fuzz
def test_any_text_is_substituted_or_explained(text: str, environ: dict[str, str]) -> None:
    try:
        substitute(text, environ)
    except ValueError as error:
        assert "\n" not in str(error)
