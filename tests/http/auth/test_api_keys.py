"""API keys over HTTP: good until they are over or revoked, and refused without a hint."""

from __future__ import annotations

import hmac
import time
from pathlib import Path

import pytest

from server.authn.key_store import KeyStore
from tests.support.authenticated_server import P1, guarded, models


def test_a_key_of_the_command_line_is_good_until_it_is_revoked(opa_binary: Path, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.db")
    key = store.create("user-2", {"roles": ("developer",)}, None)
    provider = f"{{type: api_key, db_path: '{tmp_path / 'keys.db'}', recheck_period: 0}}"
    with guarded(provider, P1, opa_binary, tmp_path) as running:
        assert models(running, key) == ["echo/model-1"]
        assert models(running, key[:-1] + ("A" if key[-1] != "A" else "B")) == 401
        store.revoke(key.split("_")[1])
        assert models(running, key) == 401


def test_case_18_a_missing_key_and_a_wrong_one_cost_the_same_steps_and_look_alike(
    opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    store = KeyStore(tmp_path / "keys.db")
    good = store.create("user-2", {}, None)
    secret = store.create("user-3", {}, None).split("_", 2)[2]
    identity = good.split("_")[1]
    revoked = store.create("user-4", {}, None)
    store.revoke(revoked.split("_")[1])
    provider = f"{{type: api_key, db_path: '{tmp_path / 'keys.db'}'}}"
    with guarded(provider, P1, opa_binary, tmp_path) as running:
        answers = []
        for number, key in enumerate((f"ost_{identity}_{'A' * 43}", f"ost_{'a' * 12}_{secret}", revoked)):
            answers.append(running.address.get("/v1/models", f"Authorization: Bearer {key}"))
            assert compared == [(32, 32)] * (number + 1)
        assert {answer.status for answer in answers} == {401}
        assert len({answer.body for answer in answers}) == 1
        assert models(running, good) == ["echo/model-1"]


def test_a_remembered_key_is_refused_once_it_is_over(opa_binary: Path, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.db")
    provider = f"{{type: api_key, db_path: '{tmp_path / 'keys.db'}', recheck_period: 3600}}"
    with guarded(provider, P1, opa_binary, tmp_path) as running:
        key = store.create("user-2", {}, int(time.time()) + 3)
        assert models(running, key) != 401
        deadline = time.monotonic() + 30
        while models(running, key) != 401:
            assert time.monotonic() < deadline
            time.sleep(0.02)
