"""Required shields, and budgets of tokens, hold for lines of every kind as they hold for requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import batches_server
from tests.support.batches_server import CHAT, Batching, batching, chat, line
from tests.support.callers import OWN, bearer
from tests.support.files_server import wait_until
from tests.support.line_provider import LineProvider, line_provider

GUARDED = bearer("ann+guarded")
SAFETY = """\
    providers:
      safety: [{provider_id: words, provider_type: inline::keyword}]
"""
SHIELDS = """\
    shields:
    - {shield_id: words, provider_id: words, params: {words: [falcon]}}
    storage:
"""
RULES = """\
        access_policy:
        - permit: {actions: [read], resource: "model::*"}
          shields: [words]
          when: user with guarded in roles
"""
QUOTA = """\
quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        period: day
        limits:
        - {when: user with frugal in roles, max_tokens_per_period: 8000}
"""


@pytest.fixture(scope="module")
def far() -> Iterator[LineProvider]:
    with line_provider() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: LineProvider, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batching]:
    folder = tmp_path_factory.mktemp("batch_shields")
    text = batches_server.CONFIG.replace("apis: [inference, agents]", "apis: [inference, agents, safety]")
    for old, new in (("    providers:\n", SAFETY), ("    storage:\n", SHIELDS), ("        access_policy:\n", RULES)):
        assert text.count(old) == 1
        text = text.replace(old, new)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches_server, "CONFIG", text)
        quota = QUOTA.replace("FOLDER", str(folder))
        with batching(opa_binary, folder, None, far.url, policy=OWN, quota=quota) as running:
            yield running


@pytest.fixture(autouse=True)
def _anew(far: LineProvider) -> None:
    far.forget()


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT, chat("x", "a falcon flies")["body"]),
    "completion": ("/v1/completions", {"model": "m", "prompt": "a falcon flies"}),
    "embedding": ("/v1/embeddings", {"model": "vectors", "input": "a falcon flies"}),
    "response": ("/v1/responses", {"model": "m", "input": "a falcon flies"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_required_shield_stops_a_line_as_a_request(place: Batching, far: LineProvider, kind: str) -> None:
    url, body = KINDS[kind]
    harmless = {**body, **{name: "a dove" for name in ("prompt", "input") if name in body}}
    if kind == "chat":
        harmless = chat("x", "a dove")["body"]
    lines = [line("flagged", url, **body), line("fine", url, **harmless)]
    good, bad = place.results(place.over(place.begun(lines, GUARDED, endpoint=url), GUARDED), GUARDED)
    direct = place.ask("POST", url, body, GUARDED)
    found = {**good, **bad}["flagged"]["response"]
    assert found["status_code"] == direct.status
    assert shape(found["body"]) == shape(direct.json)
    assert far.asked == ["a dove"]
    assert "fine" in good
    # The same for a caller of whom the policy requires nothing.
    open_lines = [line("open", url, **body)]
    good, _ = place.results(place.over(place.begun(open_lines, endpoint=url)))
    assert [*good] == ["open"]
    assert far.asked == ["a dove", "a falcon flies"]


def shape(body: dict[str, Any]) -> dict[str, Any]:
    """What of an answer is the same each time."""
    if "choices" in body:
        return {"choices": [{**choice, "id": None} for choice in body["choices"]]}
    if "output" in body:
        return {"status": body["status"], "incomplete": body["incomplete_details"]}
    return body


def test_every_kind_of_line_is_charged_as_a_request(place: Batching) -> None:
    for number, kind in enumerate(KINDS):
        url, body = KINDS[kind]
        frugal = bearer(f"frugal{number}+frugal")
        whole = left(place, frugal)
        assert place.ask("POST", url, body, frugal).status == 200
        cost = whole - left(place, frugal)
        batch = place.begun([line("a", url, **body)], frugal, endpoint=url)
        good, bad = place.results(place.over(batch, frugal), frugal)
        assert ([*good], bad) == (["a"], {})
        assert whole - left(place, frugal) == 2 * cost > 0, kind


def left(place: Batching, caller: str) -> int:
    """Tokens that are left to a caller."""
    answer = place.ask("GET", "/v1/models", caller=caller)
    return int(answer.headers["x-ratelimit-remaining-tokens"])


def test_a_line_of_many_tokens_waits_for_a_budget_and_holds_no_other_caller(place: Batching, far: LineProvider) -> None:
    frugal, url = bearer("vera+frugal"), "/v1/embeddings"
    held = line("held", url, model="vectors", input="hold " * 5_000)
    large = line("large", url, model="vectors", input="word " * 5_000)
    beyond = line("beyond", url, model="vectors", input="word " * 10_000)
    first = place.begun([held], frugal, endpoint=url)
    wait_until(lambda: len(far.asked) == 1)
    assert place.ask("POST", url, large["body"], frugal).status == 429
    batch = place.begun([large, beyond, line("small", url, model="vectors", input="x")], frugal, endpoint=url)
    # What fits in no period is told at once.
    place.until(batch, lambda shown: shown["request_counts"] == {"total": 3, "completed": 1, "failed": 1}, frugal)
    assert place.over(place.begun([chat("a")]))["status"] == "completed"
    assert place.ask("POST", f"/v1/batches/{batch}/cancel", caller=frugal).status == 200
    good, bad = place.results(place.over(batch, frugal), frugal)
    assert ([*good], bad["large"]["error"]["code"]) == (["small"], "batch_cancelled")
    assert bad["beyond"]["response"]["status_code"] == 429
    far.go_on.set()
    assert place.over(first, frugal)["request_counts"]["completed"] == 1
    assert len(far.asked) == 3
