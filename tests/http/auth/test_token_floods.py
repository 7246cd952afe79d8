"""Many made-up tokens from one address, against a whole server and an endpoint that takes its time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.support.authenticated_server import guarded
from tests.support.identity_services import Asked, service

RULES = """
        - permit: {actions: [read], resource: "model::model-1"}
"""


def judged(asked: Asked) -> tuple[int, dict[str, str]]:
    """Know one token, after 0.1 s."""
    time.sleep(0.1)
    return (200, {"principal": "ann"}) if b"known" in asked.body else (401, {})


@pytest.mark.alone
def test_made_up_tokens_keep_no_known_caller_waiting(
    opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "home"))
    stop = threading.Event()
    seen: set[int] = set()

    with service(judged) as endpoint:
        provider = f"{{type: custom, endpoint: '{endpoint.url}', name_key: '{'k' * 32}', recheck_period: 1}}"
        with guarded(provider, RULES, opa_binary, tmp_path) as running:

            def ask(token: str) -> int:
                return running.address.get("/v1/models", f"Authorization: Bearer {token}").status

            def flood(client: int) -> None:
                number = 0
                while not stop.is_set():
                    number += 1
                    seen.add(ask(f"made-up-{client}-{number}"))

            assert ask("known") == 200
            clients = [threading.Thread(target=flood, args=(client,)) for client in range(40)]
            for client in clients:
                client.start()
            try:
                waits = []
                for pause in (0.3, 0.4, 0.3, 0.4, 1.5):  # while the answer stands, and once long after
                    time.sleep(pause)
                    began = time.monotonic()
                    assert ask("known") == 200
                    waits.append(time.monotonic() - began)
            finally:
                stop.set()
                for client in clients:
                    client.join()
    assert seen <= {401, 429}
    assert max(waits) < 2.0, waits
