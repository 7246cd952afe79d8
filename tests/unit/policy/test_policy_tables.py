"""A table of records goes by its standard name and by the one that the configuration gives it, in every pattern."""

from __future__ import annotations

import pytest

from policy.rules import ExactName, OfType
from policy.source.diagnostics import Diagnostic
from tests.support.policy_texts import codes, read

STORES = """
    conversations: {backend: sql, table_name: my_convs}
    inference: {backend: sql, table_name: inference_store}
    files: {backend: sql, table_name: "${env.FILES:=my_files}"}
"""


def found(rule: str, stores: str = STORES, environ: dict[str, str] | None = None) -> list[Diagnostic]:
    """What is found under these stores, with one rule."""
    lines = [f"    {line.strip()}" for line in stores.strip().splitlines()]
    text = "\n".join(["storage:", "  stores:", *lines, "server: {auth: {access_policy: [", rule, "]}}\n"])
    return read(text, environ)[1]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("my_convs::*", OfType("sql_record::openai_conversations")),
        ("my_convs", OfType("sql_record::openai_conversations")),
        ("openai_conversations::*", OfType("sql_record::openai_conversations")),
        ("inference_store::x", ExactName("sql_record::chat_completions", "x")),
        ("my_files::x", ExactName("sql_record::openai_files", "x")),
        ("conversation_items::*", OfType("sql_record::conversation_items")),
    ],
)
def test_a_pattern_means_the_table_whichever_of_its_names_it_writes(pattern: str, expected: object) -> None:
    lines = [f"    {line.strip()}" for line in STORES.strip().splitlines()]
    rule = f"{{forbid: {{actions: read, resource: 'sql_record::{pattern}'}}}}"
    policies, diagnostics = read(
        "\n".join(["storage:", "  stores:", *lines, f"server: {{auth: {{access_policy: [{rule}]}}}}\n"])
    )
    assert (policies is not None, diagnostics) == (True, [])
    assert policies is not None
    assert policies.access[0].resource == expected


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("sql_record::my_conv::*", "did you mean `my_convs`?"),
        ("sql_record::my_convs_items::*", "did you mean `my_convs`?"),
        ("sql_record::MY_FILES::x", "did you mean `my_files`?"),
        ("sql_record::respones", "did you mean `responses`?"),
        ("sql_record::openai_*::*", "`sql_record::*` matches every record of every table"),
        ("regex:sql_record::inference_stor::.*", "did you mean `inference_store`?"),
        ("regex:sql_record::(my_convs|my_filse)::.*", "did you mean `my_files`?"),
        ("regex:^(?:model::a|sql_record::my_filse)", "did you mean `my_files`?"),
        ("regex:sql_record::xyz[a-z]+::", "use one of"),
        ("regex:(?i)SQL_record::my_Filse::", "did you mean `my_files`?"),
    ],
)
def test_a_table_that_no_store_has_is_an_error_in_a_forbid(pattern: str, hint: str) -> None:
    for effect, severity in (("forbid", "error"), ("permit", "warning")):
        diagnostics = found(f"{{{effect}: {{actions: read, resource: '{pattern}'}}}}")
        [diagnostic] = [one for one in diagnostics if one.code in ("unknown-table", "literal-star")]
        assert diagnostic.severity == severity
        assert hint in diagnostic.hint


@pytest.mark.parametrize(
    "pattern",
    [
        *["regex:sql_record::my_", "regex:sql_record::(my_convs|my_files)::", "regex:sql_rec", "regex:sql_record::"],
        *["regex:sql_record::my_files::a$", r"regex:sql_record::[a-z_]+::", "regex:(?i)sql_record::MY_FILES"],
        *["regex:(?!sql_record::responses)sql_record::", "sql_record::*", "prompt::*"],
    ],
)
def test_nothing_is_said_where_a_pattern_may_mean_a_table(pattern: str) -> None:
    assert found(f"{{forbid: {{actions: read, resource: '{pattern}'}}}}") == []


def test_lenient_patterns_do_not_excuse_a_forbid_of_no_table() -> None:
    rule = "{forbid: {actions: read, resource: 'sql_record::my_filse::*'}}"
    policies, diagnostics = read(f"server: {{auth: {{lenient_patterns: true, access_policy: [{rule}]}}}}\n")
    assert policies is None
    assert codes(diagnostics) == ["unknown-table"]


def test_a_variable_names_the_table() -> None:
    rule = "{forbid: {actions: read, resource: 'sql_record::theirs::*'}}"
    assert codes(found(rule)) == ["unknown-table"]
    assert found(rule, environ={"FILES": "theirs"}) == []


@pytest.mark.parametrize(
    ("stores", "said"),
    [
        ("files: {backend: a, table_name: openai_conversations}", "`openai_conversations`"),
        ("files: {backend: a, table_name: conversation_items}", "`conversation_items`"),
        ("files: {backend: a, table_name: responses}", "`responses`"),
        ("conversations: {backend: a, table_name: Chat_Completions}", "`chat_completions`"),
        ("inference: {backend: a, table_name: x}\nfiles: {backend: b, table_name: x}", "`storage.stores.inference`"),
        ("conversations: {backend: a, table_name: x}\nfiles: {backend: a, table_name: X}", "`conversations`"),
        ("inference: {table_name: openai_files}\nfiles: {table_name: x}", "`openai_files`"),
    ],
)
def test_no_two_tables_have_one_name(stores: str, said: str) -> None:
    [diagnostic] = found("{permit: {actions: read}}", stores)
    assert diagnostic.severity == "error"
    assert diagnostic.code == "shared-table"
    assert said.strip("`") in diagnostic.message


def test_a_store_may_have_the_standard_name_of_its_own_table() -> None:
    stores = "files: {backend: a, table_name: openai_files}\nconversations: {backend: a, table_name: mine}"
    assert found("{permit: {actions: create}}", stores) == []


def test_lints_know_that_both_names_are_one_table() -> None:
    rules = """
        {permit: {actions: [read], resource: "sql_record::my_files::*"}},
        {permit: {actions: [read], resource: "sql_record::openai_files::x"}},
        {forbid: {actions: [read], resource: "regex:sql_record::my_files::y"}},
    """
    said = found(rules)
    assert codes(said) == ["unguarded-records", "shadowed-rule", "late-forbid"]
    assert any("every record of `openai_files`" in one.message for one in said)
