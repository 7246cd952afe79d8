"""Responses under policy: everything that a body names is asked about, and what is another's is as what isn't there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ADMIN, ALICE, BOB, OWN, READER, STRANGER
from tests.support.databases import rows
from tests.support.responses_server import NOBODYS, RESPONSES, Responding, responding

ZEROS = "0" * 48


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("policy")) as running:
        yield running


def conversation_item(place: Responding) -> str:
    conversation = place.conversation(items=[{"role": "user", "content": "x"}])
    found: str = place.ask("GET", f"/v1/conversations/{conversation}/items").json["data"][0]["id"]
    return found


REFERENCES: dict[str, tuple[Callable[[Responding], str], str, Callable[[str], Any], str]] = {
    "a response": (
        lambda place: str(place.made()["id"]),
        NOBODYS,
        lambda identity: {"previous_response_id": identity},
        "previous_response_id",
    ),
    "a conversation": (
        lambda place: place.conversation(),
        f"conv_{ZEROS}",
        lambda identity: {"conversation": identity},
        "conversation",
    ),
    "a prompt": (
        lambda place: place.prompt("hi"),
        f"pmpt_{ZEROS}",
        lambda identity: {"prompt": {"id": identity}},
        "prompt.id",
    ),
    "a file": (
        lambda place: place.file(),
        f"file-{ZEROS}",
        lambda identity: {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": identity}]}]},
        "input[0].content[0].file_id",
    ),
    "an item of a response": (
        lambda place: str(place.made()["output"][0]["id"]),
        f"msg_{ZEROS}00001",
        lambda identity: {"input": [{"type": "item_reference", "id": identity}]},
        "input[0].id",
    ),
    "an item of a conversation": (
        conversation_item,
        f"msg_{ZEROS}",
        lambda identity: {"input": [{"id": identity}]},
        "input[0].id",
    ),
}


@pytest.mark.parametrize("what", REFERENCES)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_anothers_is_as_what_is_not_there(place: Responding, what: str, stream: bool) -> None:
    made, missing, body, param = REFERENCES[what]
    identity = made(place)
    asked = {"model": "small", "input": "hi", "stream": stream}
    assert place.ask("POST", RESPONSES, {**asked, **body(identity)}, ALICE).status == 200
    before = place.count()
    told = []
    for named in (identity, missing):
        answer = place.ask("POST", RESPONSES, {**asked, **body(named)}, BOB)
        assert (answer.status, answer.json["error"]["param"]) == (404, param)
        told.append(answer.body.replace(named.encode(), b""))
    assert told[0] == told[1]
    assert place.count() == before


@pytest.mark.parametrize("tail", ["", "/input_items"])
def test_a_response_is_its_owners(place: Responding, tail: str) -> None:
    made = place.made()["id"]
    assert place.ask("GET", f"{RESPONSES}/{made}{tail}", caller=ALICE).status == 200
    assert place.ask("GET", f"{RESPONSES}/{made}{tail}", caller=READER).status == 200
    mine = place.ask("GET", f"{RESPONSES}/{made}{tail}", caller=BOB)
    none = place.ask("GET", f"{RESPONSES}/{NOBODYS}{tail}", caller=BOB)
    assert (mine.status, mine.body.replace(made.encode(), b"")) == (404, none.body.replace(NOBODYS.encode(), b""))
    assert place.ask("DELETE", f"{RESPONSES}/{made}", caller=BOB).status == 404
    assert place.ask("DELETE", f"{RESPONSES}/{made}", caller=READER).status == 403
    assert place.ask("DELETE", f"{RESPONSES}/{made}", caller=ALICE).status == 200


def test_a_list_has_what_may_be_read(place: Responding) -> None:
    ours, theirs = place.made(caller=ALICE)["id"], place.made(caller=BOB)["id"]

    def listed(caller: str) -> set[str]:
        return {each["id"] for each in place.ask("GET", f"{RESPONSES}?limit=100", caller=caller).json["data"]}

    assert (ours in listed(ALICE), theirs in listed(ALICE)) == (True, False)
    assert {ours, theirs} <= listed(READER)


def test_the_owner_is_the_decisions(place: Responding) -> None:
    made = place.made(caller=BOB, user="alice", metadata={"owner": "alice"})["id"]
    statement = f"SELECT owner_principal FROM answers WHERE id = '{made}'"  # noqa: S608 - the test's own
    assert rows(place.database, statement) == [("bob",)]


def test_who_may_not_store_may_still_ask(place: Responding) -> None:
    before = place.count()
    assert place.create(caller=READER).status == 403
    assert place.create(caller=READER, stream=True).status == 403
    assert place.create(caller=READER, store=False).status == 200
    assert place.count() == before


def test_who_may_not_change_a_conversation_does_not_fill_it(place: Responding) -> None:
    conversation = place.conversation()
    refused = place.create(caller=READER, store=False, conversation=conversation)
    assert refused.status == 403
    assert place.said_in(conversation) == []


PARTLY = """\
        - forbid: {actions: [update], resource: "sql_record::openai_conversations::*"}
          when: user with admin in roles
        - permit: {actions: [read]}
          when: user with admin in roles
        - permit: {actions: [read], resource: "sql_record::conversation_items::*"}
          when: user with bob in roles
"""
"""`admin` reads conversations and changes none; `bob` reads all items, and no conversations of others."""


def test_a_part_of_what_is_needed_is_not_enough(opa_binary: Path, tmp_path: Path) -> None:
    with responding(opa_binary, tmp_path, policy=PARTLY + OWN) as place:
        conversation = place.conversation()
        assert place.create(caller=ADMIN, store=False, conversation=conversation).status == 403
        assert place.said_in(conversation) == []
        asked: dict[str, Any] = {"text": [{"type": "item_reference", "id": conversation_item(place)}], "store": False}
        assert [place.create(caller=caller, **asked).status for caller in (ADMIN, BOB)] == [200, 404]


def test_a_model_that_may_not_be_read_is_missing(place: Responding) -> None:
    before = place.count()
    hidden, missing = place.create(model="secret"), place.create(model="no-such")
    assert (hidden.status, hidden.json["error"]["code"]) == (404, "model_not_found")
    assert hidden.body.replace(b"secret", b"") == missing.body.replace(b"no-such", b"")
    assert place.count() == before


def test_a_route_that_is_closed_is_closed(place: Responding) -> None:
    for method, target in (("POST", RESPONSES), ("GET", RESPONSES), ("GET", f"{RESPONSES}/{NOBODYS}")):
        body = {"model": "small", "input": "hi"} if method == "POST" else None
        assert place.ask(method, target, body, STRANGER).status == 403


def test_a_permit_to_create_alone_does_not_read(place: Responding) -> None:
    # An admin of this policy is a caller like others.
    made = place.made(caller=ADMIN)["id"]
    assert place.ask("GET", f"{RESPONSES}/{made}", caller=BOB).status == 404
