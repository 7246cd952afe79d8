"""Requests that meet each other, and a database that fails at any moment: one winner, and nothing half done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server.api.files import sweeper
from server.fairness.caller import CURRENT, SERVER
from server.storage.database.database import DatabaseUnavailable, Row, Step, Value
from server.storage.database.postgres import PostgresDatabase
from server.storage.database.sqlite import SqliteDatabase
from server.storage.records import removal
from tests.support.conversations_server import Talking, said, talking
from tests.support.serving import Answer

ROUNDS = 12
REFUSED = Step('SELECT 1 FROM "the test says so"')
TWO: dict[str, Any] = {"items": [said("a"), said("b")]}


@pytest.fixture(autouse=True, scope="module")
def sleeping_janitor() -> Iterator[None]:
    """Nothing but the requests of a test uses the database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeper, "SWEEP_SECONDS", 3_600)
        patch.setattr(removal, "SWEEP_SECONDS", 3_600)
        yield


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def talk(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Talking]:
    postgres = None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with talking(opa_binary, tmp_path_factory.mktemp("races"), postgres) as running:
        yield running


def at_once(*asked: Callable[[], Answer]) -> list[Answer]:
    """The answers to requests that are sent at the same time."""
    with ThreadPoolExecutor(len(asked)) as pool:
        return [each.result() for each in [pool.submit(one) for one in asked]]


def test_a_conversation_that_goes_takes_along_what_is_added_to_it(talk: Talking) -> None:
    for _ in range(ROUNDS):
        conversation = talk.made(items=[said("first")])
        deleted, *added = at_once(
            lambda gone=conversation: talk.delete(f"/{gone}"),
            *[lambda gone=conversation: talk.post(f"/{gone}/items", TWO) for _ in range(3)],
        )
        assert deleted.status == 200
        assert {answer.status for answer in added} <= {200, 404}
        assert talk.get(f"/{conversation}").status == 404
        assert talk.rows(f"SELECT id FROM conversation_items WHERE parent = '{conversation}'") == []  # noqa: S608 - ours


def test_of_two_deletions_one_has_deleted(talk: Talking) -> None:
    for _ in range(ROUNDS):
        conversation = talk.made()
        [item] = talk.added(conversation, "x")
        for path in (f"/{conversation}/items/{item}", f"/{conversation}"):
            answers = at_once(*[lambda gone=path: talk.delete(gone) for _ in range(3)])
            assert sorted(answer.status for answer in answers) == [200, 404, 404]


def test_updates_meet_and_none_is_half_of_another(talk: Talking) -> None:
    conversation = talk.made()
    written = [{"who": str(n), "also": str(n)} for n in range(6)]
    answers = at_once(*[lambda each=each: talk.post(f"/{conversation}", {"metadata": each}) for each in written])
    assert {answer.status for answer in answers} <= {200, 409}
    succeeded = [answer.json["metadata"] for answer in answers if answer.status == 200]
    assert talk.get(f"/{conversation}").json["metadata"] in succeeded
    [(version,)] = talk.rows(f"SELECT version FROM openai_conversations WHERE id = '{conversation}'")  # noqa: S608 - ours
    assert version == 1 + len(succeeded)


def test_an_update_brings_nothing_back(talk: Talking) -> None:
    for _ in range(ROUNDS):
        conversation = talk.made()
        updated, deleted = at_once(
            lambda gone=conversation: talk.post(f"/{gone}", {"metadata": {"a": "b"}}),
            lambda gone=conversation: talk.delete(f"/{gone}"),
        )
        assert (updated.status in (200, 404), deleted.status) == (True, 200)
        assert talk.get(f"/{conversation}").status == 404


class Failing:
    """Fails the n-th call of a database, before it is made or, where it ends a transaction, instead of it."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.has_failed = False

    def count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.has_failed = True
            raise DatabaseUnavailable("it fails because the test wants it to")


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Failing]:
    """Has the n-th call of each kind of database fail."""
    made: list[Failing] = []
    for kind in (SqliteDatabase, PostgresDatabase):
        _wrap(kind, monkeypatch, made)

    def begin(number: int) -> Failing:
        made[:] = [Failing(number)]
        return made[0]

    return begin


def _wrap(kind: Any, patch: pytest.MonkeyPatch, failing: list[Failing]) -> None:
    read, write = kind.read, kind.write

    def count() -> None:
        # What the server does for itself at the same time is not the request's.
        if failing and CURRENT.get() != SERVER:
            failing[0].count()

    async def counted_read(self: Any, statement: str, *values: Value) -> list[Row]:
        count()
        rows: list[Row] = await read(self, statement, *values)
        return rows

    async def counted_write(self: Any, *steps: Step) -> None:
        count()
        for index in range(len(steps) + 1):
            try:
                count()
            except DatabaseUnavailable:
                # Those before it are taken, in a transaction that then fails.
                steps = (*steps[:index], REFUSED)
                break
        await write(self, *steps)

    patch.setattr(kind, "read", counted_read)
    patch.setattr(kind, "write", counted_write)


SCENARIOS: dict[str, Callable[[Talking, str, str], Answer]] = {
    "create": lambda talk, _c, _i: talk.post("", {"items": [said("a"), said("b")], "metadata": {"a": "b"}}),
    "get": lambda talk, conversation, _i: talk.get(f"/{conversation}"),
    "update": lambda talk, conversation, _i: talk.post(f"/{conversation}", {"metadata": {"new": "yes"}}),
    "delete": lambda talk, conversation, _i: talk.delete(f"/{conversation}"),
    "add": lambda talk, conversation, item: talk.post(
        f"/{conversation}/items", {"items": [said("a"), {"type": "item_reference", "id": item}, said("b")]}
    ),
    "list": lambda talk, conversation, item: talk.get(f"/{conversation}/items?after={item}"),
    "get item": lambda talk, conversation, item: talk.get(f"/{conversation}/items/{item}"),
    "delete item": lambda talk, conversation, item: talk.delete(f"/{conversation}/items/{item}"),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whichever_call_of_the_database_fails_nothing_is_half_done(
    talk: Talking, fail: Callable[[int], Failing], scenario: str
) -> None:
    conversation = talk.made(items=[said("first"), said("second")], metadata={"old": "yes"})
    item = talk.get(f"/{conversation}/items").json["first_id"]
    before = everything(talk)
    for number in range(1, 30):
        failing = fail(number)
        answer = SCENARIOS[scenario](talk, conversation, item)
        if not failing.has_failed:
            break
        assert (answer.status, answer.error["code"]) == (503, "storage_unavailable")
        assert answer.headers["x-should-retry"] == "true"
        assert everything(talk) == before
    assert (number > 1, answer.status) == (True, 200)


def everything(talk: Talking) -> list[Any]:
    """All that is kept."""
    columns = "id, version, body, owner_principal FROM"
    tables = ("openai_conversations", "conversation_items")
    return [sorted(talk.rows(f"SELECT {columns} {table}")) for table in tables]
