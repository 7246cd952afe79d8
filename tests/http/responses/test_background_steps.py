"""Responses in the background between two steps: each is asked of the policy as the caller is by then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from json import loads
from pathlib import Path
from typing import Any

import pytest

from server.api.responses.server_tools.rounds import AT_ONCE
from server.http import held_lease
from tests.support.callers import ALICE, OWN, bearer
from tests.support.mcp_house import TOOLS, McpHouse, calls, mcp_house
from tests.support.mcp_server import text
from tests.support.patience import PATIENCE
from tests.support.responses_server import RESPONSES

READER = bearer("zoe+reader")
LIMITS = """\
      quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        limits:
        - when: user with poor in roles
          max_tokens_per_period: 1
        - when: user with thrifty in roles
          max_tokens_per_period: 1000000
"""


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[McpHouse]:
    folder = tmp_path_factory.mktemp("steps")
    with (
        pytest.MonkeyPatch.context() as patch,
        mcp_house(opa_binary, folder, policy=TOOLS + OWN + LIMITS.replace("FOLDER", str(folder))) as house,
    ):
        patch.setattr(held_lease, "RENEWAL_SECONDS", 0.1)
        yield house


@pytest.fixture
def house(running: McpHouse) -> McpHouse:
    running.stub.reset()
    # It is known as it is without a role again.
    running.house.address.ask("GET", "/v1/models", ALICE)
    return running


def shows(house: McpHouse, role: str, seconds: float = 0.0) -> Any:
    """A tool in whose first call the caller shows itself with a role, and which answers some time after that."""

    async def called(_given: dict[str, Any]) -> Any:
        if len(house.stub.calls()) == 1:
            await asyncio.to_thread(house.house.address.ask, "GET", "/v1/models", bearer(f"alice+{role}"))
            await asyncio.sleep(seconds)
        return text("done")

    return called


def over(house: McpHouse, asked: str, *, stream: bool) -> Any:
    """A response in the background, once it is over; its caller is not seen again until then."""
    if stream:
        return house.streamed(asked, house.tool(), background=True)[-1]["response"]
    identity, until = house.made(asked, house.tool(), background=True)["id"], time.monotonic() + PATIENCE
    while time.monotonic() < until:
        response = house.house.address.ask("GET", f"{RESPONSES}/{identity}", READER).json
        if response["status"] not in ("queued", "in_progress"):
            return response
        time.sleep(0.02)
    raise AssertionError("the response does not end")


def twice() -> str:
    """A text that has the model call a tool, and once more when it has the result."""
    again = loads(calls(("s__echo", {"text": "again"})))["echo"]
    return calls(("s__echo", {"text": "x"}), then=again)


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_the_caller_may_not_ask_any_more_is_not_asked_again(house: McpHouse, stream: bool) -> None:
    house.stub.results["echo"] = shows(house, "modest")
    failed = over(house, twice(), stream=stream)
    assert (failed["status"], failed["error"]["message"]) == (
        "failed",
        "the model `small` does not exist, or you have no access to it",
    )
    assert [(item["type"], item.get("output")) for item in failed["output"]] == [
        ("mcp_list_tools", None),
        ("mcp_call", "done"),
    ]
    assert len(house.stub.calls()) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_is_forbidden_while_tools_are_listed_is_not_asked(house: McpHouse, stream: bool) -> None:
    async def listing() -> None:
        await asyncio.to_thread(house.house.address.ask, "GET", "/v1/models", bearer("alice+modest"))
        await asyncio.sleep(0.5)

    house.stub.listing = listing
    failed = over(house, "hi", stream=stream)
    assert (failed["status"], failed["error"]["message"], failed["output"]) == (
        "failed",
        "the model `small` does not exist, or you have no access to it",
        [],
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_route_that_the_caller_may_not_use_any_more_ends_it(house: McpHouse, stream: bool) -> None:
    house.stub.results["echo"] = shows(house, "barred")
    failed = over(house, twice(), stream=stream)
    assert (failed["status"], "the policy does not allow this request" in failed["error"]["message"]) == (
        "failed",
        True,
    )
    assert len(house.stub.calls()) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_that_the_caller_may_not_call_any_more_is_not_called(house: McpHouse, stream: bool) -> None:
    house.stub.results["echo"] = shows(house, "stranger")
    done = over(house, twice(), stream=stream)
    assert [(item["type"], item.get("status")) for item in done["output"]] == [
        ("mcp_list_tools", None),
        ("mcp_call", "completed"),
        ("mcp_call", "failed"),
        ("message", "completed"),
    ]
    assert len(house.stub.calls()) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("role", ["poor", "thrifty"])
def test_a_limit_of_tokens_that_appears_holds_for_the_next_question(house: McpHouse, stream: bool, role: str) -> None:
    house.stub.results["echo"] = shows(house, role)
    done = over(house, twice(), stream=stream)
    if role == "poor":
        assert (done["status"], done["error"]["code"]) == ("failed", "rate_limit_exceeded")
        assert len(house.stub.calls()) == 1
    else:
        assert done["status"] == "completed"
        left = house.house.address.ask("GET", "/v1/models", bearer("alice+thrifty")).headers
        # What the second and the third answer have cost, and not the first.
        spent = 1_000_000 - int(left["x-ratelimit-remaining-tokens"])
        assert 0 < spent < done["usage"]["total_tokens"] * 2


def test_calls_of_one_answer_are_asked_as_the_caller_is_by_then(house: McpHouse) -> None:
    house.stub.results["echo"] = shows(house, "stranger", seconds=0.5)
    made = [("s__echo", {"text": str(number)}) for number in range(AT_ONCE + 1)]
    done = over(house, calls(*made), stream=False)
    ends = [item["status"] for item in done["output"] if item["type"] == "mcp_call"]
    assert ends == ["completed"] * AT_ONCE + ["failed"]
    assert len(house.stub.calls()) == AT_ONCE
