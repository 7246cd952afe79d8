"""An OPA that can't be used: nothing is started, nothing is left, and one sentence says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from server.authz.opa import process
from server.authz.opa.command import OpaStartFailed
from server.authz.readiness import AuthenticationMode
from tests.support.opa_server import world, write_bundle
from tests.support.patience import PATIENCE

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    chosen: Run = request.param
    return chosen


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle.tar.gz")


def fails_to_start(run: Run, binary: Path, folder: Path, bundle: Path, **options: Any) -> str:
    """Why, with a check that nothing is left."""
    reason = ""

    async def main() -> None:
        nonlocal reason
        async with world(binary, folder, bundle, start=False, **options) as here:
            with pytest.raises(OpaStartFailed) as caught:
                await here.opa.start()
            reason = str(caught.value)
            assert here.opa.pid is None
            assert not here.directory.socket.exists()

    run(main())
    return reason


def never_ready(
    monkeypatch: pytest.MonkeyPatch, binary: Path, folder: Path, bundle: Path, reason: str, **options: Any
) -> None:
    """Have OPA fail to become ready, for that reason; a busy machine may not have it answer within a second."""
    for seconds in (1, PATIENCE):
        monkeypatch.setattr(process, "_READY_SECONDS", seconds)
        given = fails_to_start(asyncio.run, binary, folder, bundle, **options)
        if given.endswith(reason):
            break
    assert given == f"opa is not ready after {seconds:.0f} s: {reason}"


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


def test_an_opa_that_is_missing_or_too_old_or_something_else_is_named(run: Run, tmp_path: Path, bundle: Path) -> None:
    missing = tmp_path / "missing"
    assert fails_to_start(run, missing, tmp_path, bundle) == (
        f"`{missing}` can't be started: No such file or directory; run `make opa`"
    )
    old = program(tmp_path / "old", "echo 'Version: 1.22.1'")
    assert fails_to_start(run, old, tmp_path, bundle) == (
        f"`{old}` is opa 1.22.1, which is too old; run `make opa` for 1.22.2 or newer"
    )
    other = program(tmp_path / "other", "echo 'Version: unknown'")
    assert fails_to_start(run, other, tmp_path, bundle) == (
        f"`{other}` does not say which version of opa it is; run `make opa`"
    )


PERMISSIVE = """package ostiary.decision

answer := object.union({"contract": 1, "revision": "r1"}, decisions)

decisions["route"] := permitted if is_string(input.route.path)

decisions["resource"] := permitted if input.action in {"create", "read", "update", "delete"}

permitted := {
	"effect": "permit",
	"rule": null,
	"source": null,
	"description": null,
	"reason": "anything goes",
	"obligations": [],
}
"""


@pytest.mark.parametrize("authentication", list(AuthenticationMode))
def test_a_bundle_that_permits_everything_does_not_start_whether_or_not_callers_are_asked_who_they_are(
    authentication: AuthenticationMode, opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "bundle.tar.gz", access=PERMISSIVE, law=False)
    reason = "opa permits a question that every policy denies"
    never_ready(monkeypatch, opa_binary, tmp_path, bundle, reason, authentication=authentication)


@pytest.mark.parametrize("authentication", list(AuthenticationMode))
def test_a_guardrail_that_denies_unknown_callers_keeps_no_server_from_starting(
    authentication: AuthenticationMode, run: Run, opa_binary: Path, tmp_path: Path
) -> None:
    guardrail = 'package ostiary.guardrails\n\ndeny contains {"reason": "no"} if not input.principal.id\n'
    bundle = write_bundle(tmp_path / "bundle.tar.gz", access=guardrail, authentication=str(authentication))

    async def main() -> None:
        async with world(opa_binary, tmp_path, bundle, authentication=authentication) as here:
            assert (await here.probe.check()).ready

    run(main())


def test_an_opa_that_does_not_like_the_bundle_is_quoted(run: Run, opa_binary: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar.gz"
    broken.write_text("no bundle")
    reason = fails_to_start(run, opa_binary, tmp_path, broken)
    assert reason.startswith("opa ended with status 1 before it was ready: ")
    assert "broken.tar.gz" in reason


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"revision": "r0"}, "opa answers from another policy revision than the wanted one"),
        ({"contract": 2}, "the answer to a probe breaks the contract: `contract` is not 1"),
        ({"authentication": "off", "route_policy": "absent"}, "opa permits a question that every policy denies"),
        ({"law": False}, "the answer to a probe breaks the contract: it is not an object with a `result` and nothing "
         "else"),
    ],
)  # fmt: skip
def test_a_policy_that_is_not_the_wanted_one_does_not_start(
    settings: dict[str, Any], reason: str, opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "bundle.tar.gz", **settings)
    never_ready(monkeypatch, opa_binary, tmp_path, bundle, reason)


def test_what_opa_says_is_relayed_line_by_line_and_cut(
    run: Run, tmp_path: Path, bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A program that says it is OPA, talks a lot, and ends: a full pipe would keep it from ending."""
    talker = program(
        tmp_path / "talker",
        """[ "$1" = version ] && echo 'Version: 1.22.2' && exit
head -c 2000000 /dev/zero | tr '\\0' x; echo; printf 'colour \\033[31mred\\n'; echo last words; exit 3""",
    )
    assert fails_to_start(run, talker, tmp_path, bundle).endswith("x colour  [31mred last words")
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"opa: {'x' * 500}", "opa: colour  [31mred", "opa: last words"]
