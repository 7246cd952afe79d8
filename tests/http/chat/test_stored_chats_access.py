"""Access to stored chats: those of others, of readers, without a route and without a policy engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.support.callers import ALICE, BOB, READER, STRANGER, bearer
from tests.support.chats_server import CHATS, Chatting, chatting
from tests.support.serving import like_any_other

NOWHERE = "chatcmpl-" + "0" * 48
BY_ID = [
    ("GET", "", None),
    ("HEAD", "", None),
    ("GET", "/messages", None),
    ("POST", "", {"metadata": {"a": "b"}}),
    ("DELETE", "", None),
]


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Chatting]:
    with chatting(opa_binary, tmp_path_factory.mktemp("chats"), postgres) as running:
        yield running


@pytest.fixture(scope="module")
def silent(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, kept: Chatting) -> Iterator[Chatting]:
    """The same without OPA."""
    with chatting(opa_binary, tmp_path_factory.mktemp("silent"), start=False, like=kept) as running:
        yield running


def test_deleting_takes_the_messages_along(kept: Chatting) -> None:
    made = kept.stored()
    part = f"{made}/000000001"
    assert part in [row[0] for row in kept.rows(f"{kept.chats}_messages")]
    answer = kept.ask("DELETE", f"{CHATS}/{made}")
    assert (answer.status, answer.json) == (200, {"id": made, "object": "chat.completion.deleted", "deleted": True})
    assert made not in [row[0] for row in kept.rows(kept.chats)]
    assert part not in [row[0] for row in kept.rows(f"{kept.chats}_messages")]
    assert kept.ask("DELETE", f"{CHATS}/{made}").status == 404


@pytest.mark.parametrize(("method", "rest", "body"), BY_ID)
def test_another_ones_chat_is_a_missing_one(kept: Chatting, method: str, rest: str, body: Any) -> None:
    made = kept.stored(BOB)
    before = kept.rows(kept.chats)
    hidden = kept.ask(method, f"{CHATS}/{made}{rest}", ALICE, body)
    missing = kept.ask(method, f"{CHATS}/{NOWHERE}{rest}", ALICE, body)
    assert hidden.status == 404
    assert like_any_other(hidden, made) == like_any_other(missing, NOWHERE)
    assert kept.rows(kept.chats) == before


def test_what_may_not_be_read_is_not_shown_by_changing_it(kept: Chatting) -> None:
    one = f"{CHATS}/{kept.stored()}"
    for method, body in (("GET", None), ("POST", {"metadata": {"a": "blind"}})):
        assert kept.ask(method, one, bearer("zoe+blind"), body).status == 404
    assert kept.ask("GET", one).json["metadata"] != {"a": "blind"}


def test_another_ones_chat_is_a_missing_cursor(kept: Chatting) -> None:
    made = kept.stored(BOB)
    hidden, missing = (kept.ask("GET", f"{CHATS}?after={cursor}") for cursor in (made, NOWHERE))
    assert hidden.status == 404
    assert like_any_other(hidden, made) == like_any_other(missing, NOWHERE)


@pytest.mark.parametrize(("method", "rest", "body"), BY_ID)
def test_who_may_read_is_told_that_it_may_do_no_more(kept: Chatting, method: str, rest: str, body: Any) -> None:
    answer = kept.ask(method, f"{CHATS}/{kept.stored()}{rest}", READER, body)
    assert answer.status == (200 if method in ("GET", "HEAD") else 403)


@pytest.mark.parametrize(("method", "rest", "body"), [*BY_ID, ("GET", None, None)])
def test_who_may_not_use_the_route_learns_nothing(kept: Chatting, method: str, rest: str | None, body: Any) -> None:
    made = kept.stored()
    answers = []
    for identity in (made, NOWHERE):
        answers.append(kept.ask(method, CHATS if rest is None else f"{CHATS}/{identity}{rest}", STRANGER, body))
    assert [answer.status for answer in answers] == [403, 403]


@pytest.mark.parametrize(("method", "rest", "body"), [*BY_ID, ("GET", None, None)])
def test_no_policy_engine_no_answer(kept: Chatting, silent: Chatting, method: str, rest: str | None, body: Any) -> None:
    made = kept.stored()
    before = kept.rows(kept.chats)
    for identity in (made, NOWHERE):
        answer = silent.ask(method, CHATS if rest is None else f"{CHATS}/{identity}{rest}", ALICE, body)
        assert answer.status == 503
    assert kept.rows(kept.chats) == before


def test_of_two_that_delete_one_has_done_it(kept: Chatting) -> None:
    made, found = kept.stored(), list[int]()

    def delete() -> None:
        found.append(kept.ask("DELETE", f"{CHATS}/{made}").status)

    threads = [Thread(target=delete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200, 404, 404, 404]


def test_a_change_does_not_bring_back_what_is_deleted_meanwhile(kept: Chatting) -> None:
    for _ in range(5):
        made, found = kept.stored(), dict[str, int]()

        def ask(method: str, body: Any, made: str = made, found: dict[str, int] = found) -> None:
            found[method] = kept.ask(method, f"{CHATS}/{made}", ALICE, body).status

        threads = [Thread(target=ask, args=args) for args in (("POST", {"metadata": {}}), ("DELETE", None))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found["DELETE"] == 200
        assert found["POST"] in (200, 404)
        assert made not in [row[0] for row in kept.rows(kept.chats)]
