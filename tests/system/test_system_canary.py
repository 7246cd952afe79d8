"""Nothing that a caller, a provider, an issuer or an operator keeps to themselves is ever written anywhere."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.canary import Canary, canary, fail_as_caller, fail_as_nobody, fail_upstream, succeed
from tests.support.ostiary_run import children, eventually

EVIL = 'evil\n\x1b[2J\x9b1m\u2028{"effect":"permit"}\x7f'


def decisions(canary: Canary) -> list[dict[str, Any]]:
    """The lines of the decision log and of the rotated ones, oldest first."""
    files = sorted(
        (canary.folder / "log").glob("decisions.jsonl*"),
        key=lambda path: -int(path.suffix[1:] or 0) if path.suffix[1:].isdigit() else 1,
    )
    return [json.loads(line) for path in files for line in path.read_bytes().splitlines()]


def events(canary: Canary) -> list[dict[str, Any]]:
    """The events of OPA's own log."""
    return [json.loads(line) for line in canary.said.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, opa_binary: Path) -> Iterator[Canary]:
    """A server that has gone through everything, and has then ended."""
    with canary(tmp_path_factory.mktemp("canary"), opa_binary) as world:
        succeed(world)
        fail_upstream(world)
        fail_as_caller(world)
        fail_as_nobody(world)
        inject(world)
        lose_opa(world)
        rotate(world)
        world.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: world.process.poll() is not None)
        yield world


def inject(world: Canary) -> None:
    """Names that would end a line or move a terminal's cursor, wherever a name can stand."""
    for name in (EVIL, "x" * 600):
        world.ask("POST", "/v1/chat/completions", json=world.chat(name))
        world.ask("POST", "/v1/chat/completions", json=world.chat("fine"), token=world.token(sub=name))
        world.ask("GET", "/v1/models", token=world.token(groups=[name], roles=name, iss=name))
    for path in ("%0A%1B%5B2J", "%E2%80%A8", "caf%C3%A9", "%C2%9B1m"):
        world.ask("GET", f"/v1/models/{path}")


def lose_opa(world: Canary) -> None:
    """OPA dies and comes back."""
    (opa,) = children(world.process.pid)
    os.kill(opa, signal.SIGKILL)
    assert eventually(lambda: world.ask("GET", "/v1/models").status_code == 503)
    assert eventually(lambda: world.ask("GET", "/v1/models").status_code == 200)


def rotate(world: Canary) -> None:
    """As many decisions as a file takes."""
    while not (world.folder / "log" / "decisions.jsonl.1").exists():
        world.ask("GET", "/v1/models/fine")


def test_no_secret_is_in_any_file_or_error(world: Canary) -> None:
    assert len(world.secrets) > 500
    assert {400, 401, 404, 405, 429, 502, 503} <= world.statuses
    assert len(world.written()) > 5
    assert world.hits() == []


def test_the_search_would_find_one(world: Canary, tmp_path: Path) -> None:
    secret = world.secret("found")
    (world.folder / "planted").write_text(f"x{secret}x")
    assert world.hits() == [("planted", secret)]
    (world.folder / "planted").unlink()


def test_every_line_is_one_json_object_of_printable_ascii(world: Canary) -> None:
    files = list((world.folder / "log").iterdir())
    assert len(files) >= 2
    for path in files:
        for line in path.read_bytes().splitlines():
            text = line.decode("ascii")
            assert text.isprintable()
            assert json.loads(text).keys() >= {"time", "request_id", "decision_id", "principal", "effect", "reason"}


def test_nothing_that_moves_a_cursor_reaches_a_terminal(world: Canary) -> None:
    for line in (world.folder / "stderr").read_text().split("\n"):
        assert line.isprintable()
    assert (world.folder / "stdout").read_bytes() == b""


def test_both_logs_carry_the_same_decision_ids(world: Canary) -> None:
    ours = {record["decision_id"] for record in decisions(world) if record["effect"] != "unavailable"}
    theirs = {event["decision_id"] for event in events(world)}
    assert len(ours) > 50
    assert ours <= theirs


def test_an_event_and_the_lines_with_its_id_say_the_same(world: Canary) -> None:
    ours: dict[str, list[tuple[str, str]]] = {}
    lists = set()
    for record in decisions(world):
        if record["kind"] == "quota":
            continue  # it has the id of the permit before it
        asked, effect = record.get("route") or f"{record['action']} {record['resource']}", record["effect"]
        if record["kind"] == "list":
            lists.add(record["decision_id"])
            effect = f"{record['permitted']} permitted, {record['denied']} denied"
        ours.setdefault(record["decision_id"], []).append((asked, effect))
    told = {event["decision_id"]: told_by(event) for event in events(world)}
    both = ours.keys() & told.keys()
    assert len(both) > 50
    assert lists & both
    assert {made: ours[made] for made in both - lists} == {made: told[made] for made in both - lists}
    # A list has the id of its first exchange, which holds some of what the line counts.
    for made in both & lists:
        assert ours[made][:-1] == listed(told[made])[:-1]
        assert counts(ours[made]) >= counts(listed(told[made])) > 0


def counts(told: list[tuple[str, str]]) -> int:
    """The decisions about resources that the last entry, that of a list, counts."""
    return sum(int(part.split()[0]) for part in told[-1][1].split(", "))


def listed(told: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same with the decisions about resources counted, as the one line of a list has them."""
    routes = [each for each in told if not each[0].startswith("read ")]
    members = [each for each in told if each[0].startswith("read ")]
    effects = [effect for _, effect in members]
    counted = f"{effects.count('permit')} permitted, {effects.count('deny')} denied"
    return [*routes, (f"{members[0][0].partition('::')[0]}::*", counted)]


def told_by(event: dict[str, Any]) -> list[tuple[str, str]]:
    """The decisions in an event of OPA's, as our lines have them."""
    questions, results = event["input"].get("questions") or [event["input"]], event["result"]
    told = []
    for asked, result in zip(questions, results if isinstance(results, list) else [results], strict=True):
        if "route" in result:
            told.append((f"{asked['route']['method']} {asked['route']['path']}", result["route"]["effect"]))
        if "resource" in result:
            resource = asked["resource"]
            told.append((f"{asked['action']} {resource['type']}::{resource['names'][0]}", result["resource"]["effect"]))
    return told


def test_a_refusal_leads_to_its_line(world: Canary) -> None:
    by_request: dict[str, list[dict[str, Any]]] = {}
    for record in decisions(world):
        by_request.setdefault(record["request_id"], []).append(record)
    refused = [text for text in world.refusals if "quote decision `" in text]
    assert refused
    for text in refused:
        decision_id = text.split("quote decision `")[1].split("`")[0]
        request_id = text.split("'x-request-id': '")[1].split("'")[0]
        (line,) = [record for record in by_request[request_id] if record["decision_id"] == decision_id]
        assert line["effect"] == "deny"


def test_attributes_of_callers_are_in_neither_log(world: Canary) -> None:
    assert not any(
        "attributes" in event["input"].get("principal", {})
        for event in events(world)
        if event["input"].get("principal")
    )
    # The database has them: a record and the usage of a principal belong to its attributes too.
    written = [data for path, data in world.written().items() if not path.name.startswith("records.db")]
    assert b"staff" not in b"".join(written)
