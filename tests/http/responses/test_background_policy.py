"""Responses in the background and the policy: everything is asked again as the caller is now, and is paid for once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from server.api.responses import context
from server.api.responses.background import queue, work
from server.api.responses.background.worker import AT_ONCE_EACH
from server.config.home import RECORDS_FILE, home
from tests.support.application import ByToken
from tests.support.budgeted_server import budgeted, provider
from tests.support.callers import ALICE, OWN, bearer
from tests.support.databases import rows
from tests.support.failing_provider import Upstream, upstream
from tests.support.files_server import wait_until
from tests.support.identity_services import service
from tests.support.patience import PATIENCE
from tests.support.responses_server import RESPONSES, Responding, events_of, responding

LIMITS = "authenticated_max_requests: 100\n        max_tokens_per_period: 100"
RULES = """\
        - forbid: {actions: [create], resource: "sql_record::responses"}
          when: user with barred in roles
        - forbid: {actions: [read], resource: "sql_record::responses"}
          when: user with forgetful in roles
        - forbid: {actions: [update], resource: "sql_record::openai_conversations"}
          when: user with still in roles
        - permit: {actions: [update], resource: "sql_record::responses"}
          when: user with blind in roles
"""


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    folder = tmp_path_factory.mktemp("background_policy")
    with responding(opa_binary, folder, upstream=far.url, policy=RULES + OWN) as running:
        yield running


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A caller of this test alone."""
    return f"ann{abs(hash(request.node.name))}"


def behind_others(place: Responding, far: Upstream, name: str, **more: Any) -> tuple[str, list[str]]:
    """A response that waits until others of its caller are over, and those."""
    far.forget()
    asked = {"model": "gated", "background": True}
    held = [place.made("hold", bearer(name), **asked)["id"] for _ in range(AT_ONCE_EACH)]
    return place.made("later", bearer(name), model="m", background=True, **more)["id"], held


@pytest.mark.parametrize(
    ("role", "sentence"),
    [
        ("barred", "the policy does not allow this request"),
        ("stranger", "the policy does not allow this request"),
        ("modest", "the model `m` does not exist, or you have no access to it"),
        ("forgetful", "there is no `resp_"),
        ("still", "the policy does not allow this request"),
        ("", ""),
    ],
)
def test_what_a_caller_has_shown_since_counts(
    place: Responding, far: Upstream, name: str, role: str, sentence: str
) -> None:
    more: dict[str, Any] = {}
    if role == "forgetful":
        more["previous_response_id"] = place.made("before", bearer(name))["id"]
    if role == "still":
        more["conversation"] = place.conversation(bearer(name))
    waiting, held = behind_others(place, far, name, **more)
    # It shows itself anywhere, also where it is refused.
    place.ask("GET", "/v1/models", caller=bearer(f"{name}+{role}" if role else name))
    far.go_on.set()
    done = place.over(waiting, bearer("admin+reader"))
    if role:
        assert (done["status"], done["error"]["code"]) == ("failed", "server_error")
        assert done["error"]["message"].startswith(sentence)
        assert "later" not in str(far.asked)
    else:
        assert done["status"] == "completed"
    for identity in held:
        place.over(identity, bearer("admin+reader"))


def test_what_may_not_be_read_is_not_shown_by_cancelling_it(place: Responding, far: Upstream, name: str) -> None:
    far.forget()
    identity = place.made("words of another", bearer(name), model="gated", background=True)["id"]
    assert far.arrived.wait(PATIENCE)
    blind, one = bearer("zoe+blind"), f"{RESPONSES}/{identity}"
    refused = [place.ask(*asked, caller=blind) for asked in (("GET", one), ("POST", f"{one}/cancel"))]
    assert [answer.status for answer in refused] == [404, 404]
    assert refused[0].error["message"] == refused[1].error["message"]
    assert place.ask("GET", one, caller=bearer(name)).json["status"] == "in_progress"
    # Who may read it and not change it is told so.
    assert place.ask("POST", f"{one}/cancel", caller=bearer("zoe+reader")).status == 403
    assert place.ask("POST", f"{one}/cancel", caller=bearer(name)).json["status"] == "cancelled"


def test_what_is_gone_fails_what_names_it(place: Responding, far: Upstream, name: str) -> None:
    before = place.made("before", bearer(name))["id"]
    waiting, _ = behind_others(place, far, name, previous_response_id=before)
    place.ask("DELETE", f"{RESPONSES}/{before}", caller=bearer(name))
    far.go_on.set()
    done = place.over(waiting, bearer(name))
    assert (done["status"], done["error"]["message"]) == (
        "failed",
        f"there is no `{before}`, or you have no access to it",
    )


def test_what_a_conversation_holds_since_is_not_counted(
    place: Responding, far: Upstream, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = place.conversation(bearer(name))
    waiting, _ = behind_others(place, far, name, conversation=conversation)
    more = {"items": [{"role": "user", "content": text} for text in "abc"]}
    assert place.ask("POST", f"/v1/conversations/{conversation}/items", more, bearer(name)).status == 200
    monkeypatch.setattr(context, "MOST_ITEMS", 2)
    far.go_on.set()
    assert place.over(waiting, bearer(name))["status"] == "completed"
    assert len(place.said_in(conversation, bearer(name))) == 5


def test_what_is_too_old_is_not_done(
    place: Responding, far: Upstream, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, _ = behind_others(place, far, name)
    with monkeypatch.context() as patch:
        patch.setattr(work, "time", SimpleNamespace(time=lambda: time.time() + 25 * 3600))
        far.go_on.set()
        done = place.over(waiting, bearer(name))
    assert (done["status"], done["error"]["code"]) == ("failed", "server_error")
    assert "86400 s" in done["error"]["message"]
    assert "later" not in str(far.asked)


def test_a_caller_that_has_many_waiting_makes_no_other_wait(
    place: Responding, far: Upstream, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, held = behind_others(place, far, name)
    monkeypatch.setattr(queue, "MOST_WAITING_EACH", AT_ONCE_EACH + 1)
    refused = place.create("one more", bearer(name), background=True)
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    other = place.made("mine", bearer(f"{name}x"), background=True)["id"]
    assert place.over(other, bearer(f"{name}x"))["status"] == "completed"
    assert place.ask("GET", f"{RESPONSES}/{waiting}", caller=bearer(name)).json["status"] == "queued"
    monkeypatch.setattr(queue, "MOST_WAITING", 1)
    full = place.create("one more", bearer(f"{name}x"), background=True)
    assert full.status == HTTPStatus.SERVICE_UNAVAILABLE
    far.go_on.set()
    for identity in (waiting, *held):
        place.over(identity, bearer(name))


@pytest.mark.parametrize("stream", [False, True])
def test_it_is_charged_once_and_for_what_it_has_cost(opa_binary: Path, tmp_path: Path, stream: bool) -> None:
    asked = {"model": "m", "input": "hello there", "background": True, "stream": stream}
    with (
        service(provider({"total_tokens": 60})) as far,
        budgeted(far.url, opa_binary, tmp_path, LIMITS, known=ByToken(), actions="read, create") as running,
    ):
        for left in ("99", "98"):
            answer = running.address.post(RESPONSES, asked, ALICE)
            assert (answer.status, answer.headers["x-ratelimit-remaining-requests"]) == (200, left)
            identity = events_of(answer.body)[0]["response"]["id"] if stream else answer.json["id"]
            under_way = f"SELECT count(*) FROM responses_work WHERE id = 'work:{identity}' AND facet <> ''"  # noqa: S608 - a test
            wait_until(lambda sql=under_way: not rows(str(home() / RECORDS_FILE), sql)[0][0])
        refused = running.address.post(RESPONSES, asked, ALICE)
        assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
        # Two answers of 60 tokens were charged, and the budget of 100 is used up.
        assert len(far.asked) == 2
