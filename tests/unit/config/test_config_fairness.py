"""`server.fairness`: the callers that share."""

from __future__ import annotations

import pytest

from tests.support.config_texts import errors, load, one_error, with_server


@pytest.mark.parametrize("text", ["port: 1", "fairness: {}", "fairness: {by: }", "fairness: {by: '${env.BY:+teams}'}"])
def test_every_principal_has_a_share_of_its_own_unless_an_attribute_is_named(text: str) -> None:
    assert load(with_server(text)).server.fairness.by is None


def test_principals_may_share_by_an_attribute() -> None:
    assert load(with_server("fairness: {by: teams}")).server.fairness.by == "teams"
    assert load(with_server("fairness: {by: '${env.BY}'}"), BY="projects").server.fairness.by == "projects"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fairness: teams", "`fairness` takes a mapping, not a text; write `key: value` lines"),
        ("fairness: {by: 0}", "`by` takes text, and YAML reads it as a number; write it in quotes"),
        ("fairness: {by: -1}", "`by` takes text, and YAML reads it as a number; write it in quotes"),
        ("fairness: {by: true}", "`by` takes text, and YAML reads it as a boolean; write it in quotes"),
        ("fairness: {by: ''}", "`by` needs a value, and its text is empty"),
        ("fairness: {by: [teams]}", "`by` takes text, not a list"),
        ("fairness: {bye: teams}", "`bye` is not a key of `fairness`; did you mean `by`?"),
        ("fairness: {share: 0}", "`share` is not a key of `fairness`; use `by`"),
    ],
)
def test_anything_else_is_refused(text: str, sentence: str) -> None:
    assert one_error(with_server(text)) == sentence


def test_a_mistake_is_told_with_its_place() -> None:
    assert errors(with_server("fairness: {by: 7}")) == [
        "2:18: `by` takes text, and YAML reads it as a number; write it in quotes"
    ]
