"""Access to prompts: those of others, of readers, without a route and without a policy engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ALICE, BOB, READER, STRANGER
from tests.support.chats_server import PROMPTS, Chatting, chatting
from tests.support.prompts_server import BY_ID, NOWHERE, WORDING, changed, target
from tests.support.serving import like_any_other

ON_THE_LIST = [("GET", None, None), ("POST", None, WORDING)]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chatting]:
    postgres = None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with chatting(opa_binary, tmp_path_factory.mktemp("prompts"), postgres) as running:
        yield running


@pytest.fixture(scope="module")
def silent(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, kept: Chatting) -> Iterator[Chatting]:
    """The same without OPA."""
    with chatting(opa_binary, tmp_path_factory.mktemp("silent"), start=False, like=kept) as running:
        yield running


@pytest.mark.parametrize(("method", "rest", "body"), BY_ID)
def test_another_ones_prompt_is_a_missing_one(kept: Chatting, method: str, rest: str, body: Any) -> None:
    made = kept.prompt(BOB)
    before = kept.column(kept.prompts, "body", made)
    hidden = kept.ask(method, target(made, rest), ALICE, body)
    missing = kept.ask(method, target(NOWHERE, rest), ALICE, body)
    assert hidden.status == 404
    assert like_any_other(hidden, made) == like_any_other(missing, NOWHERE)
    assert kept.column(kept.prompts, "body", made) == before


def test_another_ones_versions_are_not_even_counted(kept: Chatting) -> None:
    made = kept.prompt(BOB)
    there, not_there = (kept.ask("GET", f"{PROMPTS}/{made}?version={number}") for number in (1, 7))
    assert like_any_other(there) == like_any_other(not_there)
    there, not_there = (changed(kept, made, version) for version in (1, 7))
    assert there.status == 404
    assert like_any_other(there) == like_any_other(not_there)


@pytest.mark.parametrize(("method", "rest", "body"), [*BY_ID, ON_THE_LIST[0]])
def test_who_may_read_may_do_no_more(kept: Chatting, method: str, rest: str | None, body: Any) -> None:
    answer = kept.ask(method, target(kept.prompt(), rest), READER, body)
    assert answer.status == (200 if method in ("GET", "HEAD") else 403)


def test_who_may_not_create_is_told_so(kept: Chatting) -> None:
    before = kept.rows(kept.prompts)
    answer = kept.ask("POST", PROMPTS, READER, WORDING)
    assert (answer.status, answer.error["code"]) == (403, "insufficient_permissions")
    assert kept.rows(kept.prompts) == before


@pytest.mark.parametrize(("method", "rest", "body"), [*BY_ID, *ON_THE_LIST])
def test_who_may_not_use_the_route_learns_nothing(kept: Chatting, method: str, rest: str | None, body: Any) -> None:
    for identity in (kept.prompt(), NOWHERE):
        assert kept.ask(method, target(identity, rest), STRANGER, body).status == 403


@pytest.mark.parametrize(("method", "rest", "body"), [*BY_ID, *ON_THE_LIST])
def test_no_policy_engine_no_answer(kept: Chatting, silent: Chatting, method: str, rest: str | None, body: Any) -> None:
    made = kept.prompt()
    before = kept.rows(kept.prompts), kept.column(kept.prompts, "body", made)
    for identity in (made, NOWHERE):
        assert silent.ask(method, target(identity, rest), ALICE, body).status == 503
    assert (kept.rows(kept.prompts), kept.column(kept.prompts, "body", made)) == before
