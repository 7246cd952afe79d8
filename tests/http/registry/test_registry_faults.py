"""A database that fails under the registry, at any call: one clear answer, and nothing that is half there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from server.storage.records import removal
from tests.support.callers import ADMIN, ALICE, BOB
from tests.support.failing_database import MOMENTS, FailingDatabase
from tests.support.registry_server import Registry, registry
from tests.support.serving import Answer

Scenario = Callable[[Registry, str], Answer]

SCENARIOS: dict[str, Scenario] = {
    "list of models": lambda kept, _: kept.get("model"),
    "model": lambda kept, name: kept.get("model", name),
    "chat": lambda kept, name: kept.chat(name),
    "new model": lambda kept, name: kept.register("model", f"new-{name}", provider_model_id=f"own-new-{name}"),
    "no model": lambda kept, name: kept.get("model", name, method="DELETE"),
    "list of shields": lambda kept, name: kept.house.address.get(f"/v1/shields?after={name}", ALICE),
    "shield": lambda kept, name: kept.get("shield", name),
    "new shield": lambda kept, name: kept.register("shield", f"new-{name}"),
    "no shield": lambda kept, name: kept.get("shield", name, method="DELETE"),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    postgres = None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(removal, "SWEEP_SECONDS", 3_600)  # nothing but the requests of a test uses the database
        with registry(opa_binary, tmp_path_factory.mktemp("faults"), postgres) as running:
            yield running


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_database_that_fails_at_any_call_leaves_nothing_half_done(
    kept: Registry, monkeypatch: pytest.MonkeyPatch, scenario: str, moment: str
) -> None:
    statuses = []
    for number in range(1, 20):
        name = f"n-{token_hex(6)}"
        assert kept.register("model", name, provider_model_id=f"own-{name}").status == 200
        assert kept.register("shield", name).status == 200
        failing = FailingDatabase(number, moment)
        with monkeypatch.context() as patch:
            failing.put_in(patch, kept.database)
            answer = SCENARIOS[scenario](kept, name)
        statuses.append(answer.status)
        if answer.status != 200:
            assert (answer.status, answer.error["code"]) == (503, "storage_unavailable")
        check_whole(kept, f"new-{name}" if scenario.startswith("new") else name)
        if failing.calls < number:
            break
    assert statuses == [503] * (len(statuses) - 1) + [200]
    assert len(statuses) > 1


def check_whole(kept: Registry, name: str) -> None:
    """A model has all of its names or none, and what is there is alice's."""
    there = {kept.get("model", each).status for each in (name, f"echo/{name}", f"echo/own-{name}")}
    assert len(there) == 1
    assert (f"echo/own-{name}" in kept.listed("model")) is (there == {200})
    assert kept.chat(name).status == there.pop()
    assert (name in kept.listed("shield")) is (kept.get("shield", name).status == 200)
    for kind in ("model", "shield"):
        assert kept.get(kind, name, BOB).status == 404
        # A name that nobody has is free.
        if kept.get(kind, name).status == 404:
            own = {"provider_model_id": f"own-{name}"} if kind == "model" else {}
            made = kept.register(kind, name, ADMIN, **own).json["id"]
            assert kept.get(kind, made, ADMIN, "DELETE").status == 200
