"""Responses in the background: what is shown of them while they wait, how they end, and what is asked of the policy."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server.api.conversations import items as conversation_items
from server.api.responses.background.worker import AT_ONCE_EACH
from tests.support.callers import ALICE, BOB
from tests.support.databases import rows
from tests.support.failing_provider import Upstream, upstream
from tests.support.patience import PATIENCE
from tests.support.responses_server import NOBODYS, RESPONSES, Responding, responding

ENDS = {"response.completed", "response.incomplete", "response.failed"}


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def place(
    postgres: str | None, far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("background"), postgres, upstream=far.url) as running:
        yield running


@pytest.fixture(autouse=True)
def _anew(far: Upstream) -> None:
    far.forget()


def later(place: Responding, text: Any = "hi", caller: str = ALICE, **more: Any) -> Any:
    """A response in the background, as it was answered with."""
    return place.made(text, caller, background=True, **more)


def test_a_response_is_answered_later(place: Responding) -> None:
    waiting = later(place, "hello there", metadata={"a": "b"})
    assert (waiting["status"], waiting["background"], waiting["output"]) == ("queued", True, [])
    assert (waiting["model"], waiting["completed_at"], waiting["usage"]) == ("echo/small", None, None)
    done = place.over(waiting["id"])
    assert (done["status"], done["output"][0]["content"][0]["text"]) == ("completed", "echo: hello there")
    assert done.keys() == place.made("x").keys()
    same = ("id", "created_at", "metadata", "model", "tools", "background", "store")
    assert [done[name] for name in same] == [waiting[name] for name in same]
    assert [item["content"][0]["text"] for item in place.items(waiting["id"])] == ["hello there"]
    # Others go on from it as from any other.
    assert len(place.items(place.made("on", previous_response_id=waiting["id"])["id"])) == 3


def test_what_is_under_way_is_shown(place: Responding, far: Upstream) -> None:
    waiting = later(place, "hold", model="gated", stream=None)
    far.arrived.wait(PATIENCE)
    shown = place.ask("GET", f"{RESPONSES}/{waiting['id']}").json
    assert (shown["status"], shown["model"]) == ("in_progress", "far/gated")
    assert waiting["id"] in [each["id"] for each in place.ask("GET", RESPONSES).json["data"]]
    assert [item["content"][0]["text"] for item in place.items(waiting["id"])] == ["hold"]
    answer = place.create("on", previous_response_id=waiting["id"])
    assert (answer.status, answer.error["code"]) == (400, "previous_response_not_over")
    far.go_on.set()


def test_background_needs_a_stored_response(place: Responding) -> None:
    answer = place.create("hi", background=True, store=False)
    assert (answer.status, answer.error["param"]) == (400, "background")


def test_events_are_read_while_they_come_and_again(place: Responding) -> None:
    events = place.streamed("hi", model="m", background=True)
    identity = events[0]["response"]["id"]
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    assert [event["type"] for event in events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert [event["type"] in ENDS for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["response"] == place.over(identity)
    assert "".join(each["delta"] for each in events if each["type"].endswith("text.delta")) == "Hello, wörld"
    assert place.replayed(identity) == events
    for after in (0, 2, len(events) - 2):
        assert place.replayed(identity, f"&starting_after={after}") == events[after + 1 :]
    # A client that has seen the end, or says that it has seen more, does not wait.
    for after in (len(events) - 1, len(events), 99_999_999):
        assert place.replayed(identity, f"&starting_after={after}") == []


def test_a_reader_who_has_seen_more_than_there_is_does_not_wait_after_the_end(place: Responding, far: Upstream) -> None:
    identity, _ = begun(place, far, streamed=True)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(place.replayed, identity, "&starting_after=99999")
        far.go_on.set()
        place.over(identity)
        assert reading.result(PATIENCE) == []


def test_events_behind_dropped_ones_are_not_told(place: Responding) -> None:
    events = place.streamed("hi", model="m", background=True)
    identity = events[0]["response"]["id"]
    parts = f"FROM answers_parts WHERE parent = '{identity}'"
    # The first two events are one part, behind those that hold the items.
    first = sorted(row[0] for row in rows(place.database, f"SELECT id {parts}"))[2]
    rows(place.database, f"DELETE {parts} AND id = '{first}' RETURNING id")
    gone = place.replayed(identity)
    assert [(event["type"], event["sequence_number"]) for event in gone] == [("error", 0)]
    assert place.replayed(identity, "&starting_after=1") == events[2:]


def test_what_was_not_streamed_has_no_events(place: Responding) -> None:
    for identity in (later(place)["id"], place.made()["id"], place.streamed()[-1]["response"]["id"]):
        answer = place.ask("GET", f"{RESPONSES}/{identity}?stream=true")
        assert (answer.status, answer.error["param"]) == (400, "stream")
    for wrong in ("-1", "x", "", "1.0", "9" * 30):
        answer = place.ask("GET", f"{RESPONSES}/{identity}?starting_after={wrong}")
        assert (answer.status, answer.error["param"]) == (400, "starting_after")


def test_a_client_that_leaves_does_not_end_it(place: Responding, far: Upstream) -> None:
    body = {"model": "gated", "input": "hi", "background": True, "stream": True}
    with place.opened("POST", RESPONSES, body) as events:
        first = next(events)
    far.arrived.wait(PATIENCE)
    far.go_on.set()
    done = place.over(first["response"]["id"])
    assert (done["status"], done["output"][0]["content"][0]["text"]) == ("completed", "firstsecond")
    assert place.replayed(done["id"])[-1]["response"] == done


@pytest.mark.parametrize("streamed", [False, True])
def test_cancelling_ends_it_at_once_and_again(place: Responding, far: Upstream, streamed: bool) -> None:
    identity, conversation = begun(place, far, streamed=streamed)
    cancelled = place.ask("POST", f"{RESPONSES}/{identity}/cancel")
    assert (cancelled.status, cancelled.json["status"], cancelled.json["completed_at"]) == (200, "cancelled", None)
    assert far.left.wait(PATIENCE)
    assert place.ask("POST", f"{RESPONSES}/{identity}/cancel").json == cancelled.json
    assert place.ask("GET", f"{RESPONSES}/{identity}").json == cancelled.json
    assert place.said_in(conversation) == []
    assert place.create("on", previous_response_id=identity).status == 200
    if streamed:
        [message] = cancelled.json["output"]
        assert (message["status"], message["content"][0]["text"]) == ("incomplete", "first")
        events = place.replayed(identity)
        assert [event["sequence_number"] for event in events] == [*range(len(events))]
        assert [event["type"] for event in events if event["type"] in ENDS] == ["response.incomplete"]
        assert events[-1]["response"] == cancelled.json


def test_what_waits_is_cancelled_before_it_begins(place: Responding, far: Upstream) -> None:
    held = [later(place, "hold", model="gated")["id"] for _ in range(AT_ONCE_EACH)]
    waiting = later(place, "never said", model="m")["id"]
    assert place.ask("POST", f"{RESPONSES}/{waiting}/cancel").json["status"] == "cancelled"
    far.go_on.set()
    for identity in held:
        place.over(identity)
    assert place.ask("GET", f"{RESPONSES}/{waiting}").json["status"] == "cancelled"
    assert "never said" not in str(far.asked)


def test_only_what_is_under_way_in_the_background_is_cancelled(place: Responding) -> None:
    done = later(place)["id"]
    place.over(done)
    for identity, code in ((done, "response_over"), (place.made()["id"], "response_not_in_background")):
        answer = place.ask("POST", f"{RESPONSES}/{identity}/cancel")
        assert (answer.status, answer.error["code"]) == (400, code)
    assert place.ask("POST", f"{RESPONSES}/{NOBODYS}/cancel").status == 404


@pytest.mark.parametrize("streamed", [False, True])
def test_deleting_ends_it(place: Responding, far: Upstream, streamed: bool) -> None:
    identity, _ = begun(place, far, streamed=streamed)
    assert place.ask("DELETE", f"{RESPONSES}/{identity}").status == 200
    assert far.left.wait(PATIENCE)
    assert place.ask("GET", f"{RESPONSES}/{identity}").status == 404
    for table in ("answers_parts", "answers_work"):
        left = rows(place.database, f"SELECT count(*) FROM {table} WHERE parent = '{identity}'")  # noqa: S608 - a test
        assert left[0][0] == 0


def test_a_reader_learns_that_a_response_is_deleted(place: Responding, far: Upstream) -> None:
    identity, _ = begun(place, far, streamed=True)
    with place.opened("GET", f"{RESPONSES}/{identity}?stream=true&starting_after=1") as events:
        seen = [next(events)]
        assert place.ask("DELETE", f"{RESPONSES}/{identity}").status == 200
        seen += events
    assert [event["type"] for event in seen if event["type"] in {"error", *ENDS}] == ["error"]


def test_nothing_of_it_is_anothers(place: Responding, far: Upstream) -> None:
    identity, _ = begun(place, far, streamed=True)
    one = f"{RESPONSES}/{identity}"
    for method, path in (("GET", one), ("GET", f"{one}?stream=true"), ("POST", f"{one}/cancel"), ("DELETE", one)):
        foreign, missing = (place.ask(method, path.replace(identity, each), caller=BOB) for each in (identity, NOBODYS))
        assert foreign.status == missing.status == 404
        assert foreign.body.replace(identity.encode(), b"") == missing.body.replace(NOBODYS.encode(), b"")
    assert place.create("on", BOB, previous_response_id=identity).status == 404
    assert place.ask("GET", one).json["status"] == "in_progress"
    far.go_on.set()
    assert place.over(identity)["status"] == "completed"


def test_a_conversation_is_filled_once_it_is_complete(place: Responding, far: Upstream) -> None:
    identity, conversation = begun(place, far, streamed=True)
    assert place.said_in(conversation) == []
    far.go_on.set()
    place.over(identity)
    assert place.said_in(conversation) == [("user", "hold"), ("assistant", "firstsecond")]


def test_one_whose_conversation_is_full_tells_what_it_has_cost(
    place: Responding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_items, "MOST_KEPT", 3)
    conversation = place.conversation(items=[{"role": "user", "content": "a"}] * 2)
    done = place.over(later(place, conversation=conversation)["id"])
    assert (done["status"], "at most 3 items" in done["error"]["message"]) == ("failed", True)
    assert done["usage"]["output_tokens"] > 0


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", ["dies", "errs"])
def test_a_provider_that_breaks_off_fails_it(place: Responding, streamed: bool, model: str) -> None:
    if streamed:
        events = place.streamed("hi", model=model, background=True)
        assert [event["type"] for event in events if event["type"] in ENDS] == ["response.failed"]
        done = events[-1]["response"]
        assert done["output"][0]["content"][0]["text"] == "first"
    else:
        done = place.over(later(place, "hi", model=model)["id"])
    assert (done["status"], done["error"]["code"]) == ("failed", "server_error")
    assert place.ask("GET", f"{RESPONSES}/{done['id']}").json == done


def begun(place: Responding, far: Upstream, *, streamed: bool) -> tuple[str, str]:
    """A response in the background whose model has said a word and waits, and the conversation that it belongs to."""
    conversation = place.conversation()
    body = {"model": "gated", "input": "hold", "background": True, "conversation": conversation, "stream": streamed}
    if not streamed:
        identity = place.ask("POST", RESPONSES, body).json["id"]
        assert far.arrived.wait(PATIENCE)
        return identity, conversation
    with place.opened("POST", RESPONSES, body) as events:
        identity = next(events)["response"]["id"]
        assert any(event["type"] == "response.output_text.delta" for event in events)
    return identity, conversation
