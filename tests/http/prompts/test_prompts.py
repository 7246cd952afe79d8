"""Prompts over HTTP on both databases: versions, variables, pages and refusals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from server.api.prompts.body import LONGEST_PROMPT, MOST_VARIABLES
from tests.support.callers import ALICE, BOB
from tests.support.chats_server import PROMPTS, Chatting, chatting
from tests.support.patience import PATIENCE
from tests.support.prompts_server import BY_ID, NOWHERE, WORDING, changed, target
from tests.support.serving import like_any_other


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chatting]:
    postgres = None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with chatting(opa_binary, tmp_path_factory.mktemp("prompts"), postgres) as running:
        yield running


def test_a_new_prompt_is_its_first_version(kept: Chatting) -> None:
    answer = kept.ask("POST", PROMPTS, ALICE, WORDING)
    shown = answer.json
    assert re.fullmatch("pmpt_[0-9a-f]{48}", shown["prompt_id"])
    assert shown == {**WORDING, "prompt_id": shown["prompt_id"], "version": 1, "is_default": True}
    for query in ("", "?version=1"):
        assert kept.ask("GET", f"{PROMPTS}/{shown['prompt_id']}{query}").json == shown
    assert (shown["prompt_id"], "alice", "issuer") in kept.rows(kept.prompts)


def test_a_change_is_a_version_of_its_own(kept: Chatting) -> None:
    made = kept.prompt()
    second = changed(kept, made, 1).json
    assert second == {"prompt_id": made, "version": 2, "prompt": "Bye!", "variables": [], "is_default": True}
    third = changed(kept, made, 2, "{{a}} {{ b }}", variables=["b", "a", "unused"], set_as_default=False).json
    assert (third["version"], third["is_default"], third["variables"]) == (3, False, ["b", "a", "unused"])
    assert kept.ask("GET", f"{PROMPTS}/{made}").json == second
    assert kept.ask("GET", f"{PROMPTS}/{made}?version=3").json == third
    first = kept.ask("GET", f"{PROMPTS}/{made}?version=1").json
    assert (first["prompt"], first["is_default"]) == (WORDING["prompt"], False)
    assert kept.ask("GET", f"{PROMPTS}/{made}/versions").json == {
        "object": "list",
        "data": [third, second, first],
        "has_more": False,
    }


def test_another_version_can_be_the_default(kept: Chatting) -> None:
    made = kept.prompt()
    changed(kept, made, 1)
    answer = kept.ask("PUT", f"{PROMPTS}/{made}/set-default-version", ALICE, {"version": 1})
    assert answer.json == {**WORDING, "prompt_id": made, "version": 1, "is_default": True}
    assert kept.ask("GET", f"{PROMPTS}/{made}").json == answer.json
    [listed] = [each for each in kept.ask("GET", PROMPTS).json["data"] if each["prompt_id"] == made]
    assert listed == answer.json
    # The latest is still the one that a change is made of.
    assert changed(kept, made, 1).status == 409
    assert changed(kept, made, 2).json["version"] == 3


@pytest.mark.parametrize("version", [2, 3, 999_999_998])
def test_a_change_is_of_the_latest_version_alone(kept: Chatting, version: int) -> None:
    made = kept.prompt()
    if version == 3:
        changed(kept, made, 1)
        version = 1
    answer = changed(kept, made, version)
    assert (answer.status, answer.error["param"], answer.error["code"]) == (409, "version", "conflict")
    assert answer.headers["x-should-retry"] == "false"


def test_of_many_that_change_one_version_one_wins(kept: Chatting) -> None:
    made, together, found = kept.prompt(), Barrier(6), list[tuple[int, str]]()

    def change(text: str) -> None:
        together.wait(timeout=PATIENCE)
        found.append((changed(kept, made, 1, text).status, text))

    threads = [Thread(target=change, args=(f"by {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in found) == [200, 409, 409, 409, 409, 409]
    versions = kept.ask("GET", f"{PROMPTS}/{made}/versions").json["data"]
    assert [(each["version"], each["prompt"]) for each in versions] == [(2, min(found)[1]), (1, WORDING["prompt"])]


def test_a_change_does_not_bring_back_what_is_deleted_meanwhile(kept: Chatting) -> None:
    for _ in range(5):
        made, found = kept.prompt(), list[int]()
        threads = [
            Thread(target=lambda made=made, found=found: found.append(changed(kept, made, 1).status)),
            Thread(target=lambda made=made: kept.ask("DELETE", f"{PROMPTS}/{made}")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found[0] in (200, 404)
        assert made not in [row[0] for row in kept.rows(kept.prompts)]
        assert not [row for row in kept.rows(f"{kept.prompts}_versions") if row[0].startswith(made)]


def test_versions_are_paged(kept: Chatting) -> None:
    made = kept.prompt()
    for version in range(1, 12):
        assert changed(kept, made, version, f"text {version + 1}").status == 200

    def numbers(query: str) -> tuple[list[int], bool]:
        page = kept.ask("GET", f"{PROMPTS}/{made}/versions{query}").json
        return [each["version"] for each in page["data"]], page["has_more"]

    assert numbers("") == (list(range(12, 0, -1)), False)
    assert numbers("?order=asc&limit=5") == ([1, 2, 3, 4, 5], True)
    assert numbers("?order=asc&limit=10&after=5") == ([6, 7, 8, 9, 10, 11, 12], False)
    assert numbers("?limit=2&after=11") == ([10, 9], True)
    assert numbers("?after=1") == ([], False)


def test_deleting_takes_every_version_along(kept: Chatting) -> None:
    made = kept.prompt()
    changed(kept, made, 1)
    answer = kept.ask("DELETE", f"{PROMPTS}/{made}")
    assert (answer.status, answer.json) == (200, {"id": made, "object": "prompt.deleted", "deleted": True})
    assert made not in [row[0] for row in kept.rows(kept.prompts)]
    assert not [row for row in kept.rows(f"{kept.prompts}_versions") if row[0].startswith(made)]
    for method, rest, body in BY_ID:
        assert kept.ask(method, target(made, rest), ALICE, body).status == 404


def test_lists_are_of_ones_own_in_full_pages(kept: Chatting) -> None:
    carol, dave = "Authorization: Bearer carol", "Authorization: Bearer dave"
    mine = []
    for _ in range(3):
        mine.append(kept.prompt(carol))
        kept.prompt(dave)
    page = kept.ask("GET", PROMPTS, carol).json
    assert [each["prompt_id"] for each in page["data"]] == mine[::-1]
    assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == ("list", mine[2], mine[0], False)
    first = kept.ask("GET", f"{PROMPTS}?limit=2", carol).json
    assert ([each["prompt_id"] for each in first["data"]], first["has_more"]) == ([mine[2], mine[1]], True)
    rest = kept.ask("GET", f"{PROMPTS}?limit=2&after={first['last_id']}", carol).json
    assert ([each["prompt_id"] for each in rest["data"]], rest["has_more"]) == ([mine[0]], False)
    hidden, missing = (kept.ask("GET", f"{PROMPTS}?after={cursor}", BOB) for cursor in (mine[0], NOWHERE))
    assert hidden.status == 404
    assert like_any_other(hidden, mine[0]) == like_any_other(missing, NOWHERE)


@pytest.mark.parametrize(
    ("prompt", "variables"),
    [
        ("no variables", []),
        ("no variables", None),
        ("{{name}}{{ name }}{{\tname\n}}", ["name"]),
        ("{{ naïve_1 }}", ["naïve_1"]),
        ('{{"json": 1}} {{ }} {{}} {name} { { name } } {{a.b}} {{ a b }}', []),
        ("{" * 1000 + " " * 1000, []),
        ("{{ " + "a" * 1000, []),
        ("x" * LONGEST_PROMPT, []),
        ("null \0, quote \" and 'quote' and \\ and \U0001f600", []),
    ],
)
def test_a_text_and_its_variables_come_back(kept: Chatting, prompt: str, variables: list[str] | None) -> None:
    answer = kept.ask("POST", PROMPTS, ALICE, {"prompt": prompt, "variables": variables})
    assert answer.status == 200, answer.body[:300]
    shown = kept.ask("GET", f"{PROMPTS}/{answer.json['prompt_id']}").json
    assert (shown["prompt"], shown["variables"]) == (prompt, variables or [])


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "{{ name }}", "variables": ...}, "prompt"),
    ({"prompt": "{{ name }}", "variables": None}, "prompt"),
    ({"prompt": "{{ name }}", "variables": []}, "prompt"),
    ({"prompt": "{{ name }} {{ other }}", "variables": ["name"]}, "prompt"),
    ({"prompt": "{{ Name }}", "variables": ["name"]}, "prompt"),
    ({"prompt": "{{ " + "a" * 5000 + " }}"}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": 5}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": "x" * (LONGEST_PROMPT + 1)}, "prompt"),
    ({"prompt": ...}, "prompt"),
    ({"variables": "name"}, "variables"),
    ({"variables": {"name": 1}}, "variables"),
    ({"variables": [f"v{number}" for number in range(MOST_VARIABLES + 1)]}, "variables"),
    ({"variables": ["name", 5]}, "variables[1]"),
    ({"variables": ["name", "name"]}, "variables[1]"),
    ({"variables": ["a b"]}, "variables[0]"),
    ({"variables": [""]}, "variables[0]"),
    ({"variables": ["v" * 65]}, "variables[0]"),
    ({"owner_principal": "bob"}, "owner_principal"),
    ({"prompt_id": NOWHERE}, "prompt_id"),
    ({"is_default": True}, "is_default"),
    ({"created_at": 1}, "created_at"),
    ({"access_attributes": {}}, "access_attributes"),
]


@pytest.mark.parametrize(("change", "param"), WRONG, ids=str)
def test_what_is_wrong_is_named_by_its_place(kept: Chatting, change: dict[str, Any], param: str) -> None:
    body = {name: value for name, value in {**WORDING, **change}.items() if value is not ...}
    before, made = kept.rows(kept.prompts), kept.prompt()
    for method, path, more in (("POST", PROMPTS, {}), ("PUT", f"{PROMPTS}/{made}", {"version": 1})):
        answer = kept.ask(method, path, ALICE, {**body, **more})
        assert (answer.status, answer.error["param"]) == (400, param)
        assert len(answer.error["message"]) < 300
    assert len(kept.rows(kept.prompts)) == len(before) + 1
    assert len(kept.ask("GET", f"{PROMPTS}/{made}/versions").json["data"]) == 1


@pytest.mark.parametrize("version", [0, -1, 1.0, "1", True, None, ..., 10**9, 10**30])
def test_a_version_is_a_whole_number(kept: Chatting, version: Any) -> None:
    made = kept.prompt()
    more = {} if version is ... else {"version": version}
    for path, body in ((f"{PROMPTS}/{made}", WORDING), (f"{PROMPTS}/{made}/set-default-version", {})):
        answer = kept.ask("PUT", path, ALICE, {**body, **more})
        assert (answer.status, answer.error["param"]) == (400, "version")


@pytest.mark.parametrize("query", ["version=0", "version=x", "version=-1", "version=", "version=1&version=2"])
def test_a_version_in_the_query_is_a_whole_number_too(kept: Chatting, query: str) -> None:
    made = kept.prompt()
    for identity in (made, NOWHERE):
        answer = kept.ask("GET", f"{PROMPTS}/{identity}?{query}")
        assert (answer.status, answer.error["param"]) == (400, "version")


def test_a_version_that_is_not_there_is_missing(kept: Chatting) -> None:
    made = kept.prompt()
    answers = [
        kept.ask("GET", f"{PROMPTS}/{made}?version=2"),
        kept.ask("PUT", f"{PROMPTS}/{made}/set-default-version", ALICE, {"version": 2}),
    ]
    for answer in answers:
        assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "not_found", "version")
    assert kept.ask("GET", f"{PROMPTS}/{made}").json["version"] == 1
