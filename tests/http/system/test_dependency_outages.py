"""Real services that go away and come back: what readiness, `/v1/health` and the metrics say of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from server.telemetry import dependencies
from server.wiring.authenticators import authenticator
from tests.support.application import ByToken
from tests.support.callers import ALICE
from tests.support.failing_provider import upstream
from tests.support.files_server import BOUNDARY, form_of
from tests.support.identity_services import Asked, service
from tests.support.metrics_page import measured
from tests.support.postgres import Postgres, running_postgres
from tests.support.real_policy import Decided, decided, read
from tests.support.s3 import BUCKET, running_s3
from tests.support.severable_proxy import Line, line_to
from tests.support.valkey import running_valkey

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: far, provider_type: remote::vllm, config: {url: "PROVIDER/v1"}}
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: m, provider_id: far}
    storage:
      backends:
        records: {type: sql_postgres, host: "DATABASE", db: postgres, user: postgres}
        counts: {type: kv_redis, host: 127.0.0.1, port: QUOTA}
      stores:
        conversations: {backend: records, table_name: openai_conversations}
      blobs: {type: s3, bucket: BUCKET, prefix: p, endpoint: "BLOBS", access_key_id: k, secret_access_key: canary-key}
    server:
      quota:
        kvstore: {backend: counts, namespace: q}
        authenticated_max_requests: 100000
        anonymous_max_requests: 100000
      auth:
        provider_config: {type: custom, endpoint: "IDENTITY/canary-path", recheck_period: 3600}
        route_policy:
        - permit: {paths: [/v1/health, /metrics]}
        - permit: {paths: "*"}
          when: user with developer in roles
"""
FORM = f"multipart/form-data; boundary={BOUNDARY}"
CANARIES = (b"canary", b"127.0.0.1", b"http:", b"postgres@")
SECONDS = 20.0

QUICK = 5
"""Seconds that pass in a second on the clock of the watch, which looks every ten seconds at some."""


@dataclass
class Place:
    """A server, and the lines to everything that it depends on."""

    house: Decided
    lines: dict[str, Line]
    postgres: Postgres
    postgres_runs: bool = True

    def cut(self, name: str) -> None:
        """Take one of them away."""
        if name == "database:records":
            self.postgres.kill()
        else:
            self.lines[name].cut()

    def mend(self, name: str) -> None:
        """Bring it back."""
        if name == "database:records":
            self.postgres.start()
        else:
            self.lines[name].mend()

    def ready(self) -> tuple[int, dict[str, Any]]:
        """The status and the report of readiness, without any word of an address or a secret in it."""
        answer = self.house.address.get("/v1/health/ready", ALICE)
        assert not [word for word in CANARIES if word in answer.body]
        return answer.status, answer.json

    def state(self, name: str) -> str:
        """The state of one of them."""
        return str(self.ready()[1]["dependencies"][name]["state"])

    def up(self, name: str) -> float:
        """What the metric says of it."""
        return measured(self.house.address, ALICE).value("ostiary_dependency_up", dependency=name)


def validated(asked: Asked) -> tuple[int, Any]:
    return 200, {"principal": "alice", "attributes": {"roles": ["developer"]}, "message": ""}


def until(true: Callable[[], bool]) -> None:
    """Wait until it is, which a test of outages has to."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("dependencies")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTIARY_HOME", str(folder / "home"))
        clock = SimpleNamespace(monotonic=lambda: QUICK * time.monotonic(), time=time.time)
        patch.setattr(dependencies, "time", clock)
        patch.setattr(dependencies, "TICK_SECONDS", dependencies.TICK_SECONDS / QUICK)
        postgres = stack.enter_context(running_postgres())
        urls = {
            "provider:far": stack.enter_context(upstream()).url,
            "quota": stack.enter_context(running_valkey()).connection_url,
            "blobs": stack.enter_context(running_s3()).url,
            "identity": stack.enter_context(service(validated)).url,
        }
        lines = {name: stack.enter_context(line_to(url)) for name, url in urls.items()}
        text = CONFIG.replace("BUCKET", BUCKET)
        text = text.replace("DATABASE", postgres.url.partition("host=")[2])
        text = text.replace("QUOTA", str(lines["quota"].port))
        for word, name in (("PROVIDER", "provider:far"), ("BLOBS", "blobs"), ("IDENTITY", "identity")):
            text = text.replace(word, f"http://127.0.0.1:{lines[name].port}")
        known = authenticator(read(text).server.auth)
        yield Place(stack.enter_context(decided(text, opa_binary, folder, authenticator=known)), lines, postgres)


def use_quota(place: Place) -> int:
    return place.house.address.get("/v1/models", ALICE).status


def use_database(place: Place) -> int:
    return place.house.address.post("/v1/conversations", {}, ALICE).status


def use_blobs(place: Place) -> int:
    return place.house.address.ask("POST", "/v1/files", ALICE, body=form_of(b"text"), kind=FORM, timeout=60).status


def use_provider(place: Place) -> int:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    return place.house.address.post("/v1/chat/completions", body, ALICE).status


def use_identity(place: Place) -> int:
    """With a token that nobody has shown yet."""
    return place.house.address.get("/v1/models", f"Authorization: Bearer t{time.monotonic_ns()}").status


USES = {
    "quota": (use_quota, 503),
    "database:records": (use_database, 503),
    "blobs": (use_blobs, 503),
    "provider:far": (use_provider, 502),
    "identity": (use_identity, 503),
}


def test_all_is_well(place: Place) -> None:
    until(lambda: place.ready()[1]["status"] == "ready")
    status, report = place.ready()
    assert status == 200
    assert report["dependencies"].keys() >= {*USES, "policy", "decision_log", "provider:echo"}
    for name in USES:
        until(lambda name=name: place.state(name) == "ok")  # type: ignore[misc]  # a default that binds the name
        assert report["dependencies"][name].keys() - {"breaker"} == {"state", "since", "reason"}
        assert place.up(name) == 1


@pytest.mark.parametrize("used", [True, False], ids=["used", "idle"])
@pytest.mark.parametrize("name", USES)
def test_what_goes_away_is_named_and_what_comes_back_is_well(place: Place, name: str, used: bool) -> None:
    use, refused = USES[name]
    until(lambda: place.state(name) == "ok")
    place.cut(name)
    try:
        if used:
            assert use(place) == refused
        until(lambda: place.state(name) in ("down", "degraded"))
        until(lambda: place.state(name) == "down" or used)
        status, report = place.ready()
        assert (status, report["status"]) == ((503, "unavailable") if name == "quota" else (200, "degraded"))
        found = report["dependencies"][name]
        assert found["reason"]
        assert found["since"].endswith("Z")
        assert place.up(name) < 1
        # Decisions are made all the same, so that a balancer goes on sending requests.
        assert place.house.address.get("/v1/health").status == 200
        others = {other: each["state"] for other, each in report["dependencies"].items() if other != name}
        assert "down" not in others.values()
    finally:
        place.mend(name)
    until(lambda: place.state(name) == "ok")
    until(lambda: place.up(name) == 1)
    status, report = place.ready()
    assert (status, report["status"], report["dependencies"][name]["reason"]) == (200, "ready", None)
    assert measured(place.house.address, ALICE).value("ostiary_dependency_failures_total", dependency=name) >= used


def test_without_decisions_there_is_no_health_and_readiness_says_why(opa_binary: Path, tmp_path: Path) -> None:
    text = """
    version: 2
    apis: [inference]
    providers: {inference: [{provider_id: echo, provider_type: inline::echo}]}
    server:
      auth:
        provider_config: {type: custom, endpoint: "https://auth.example.com/validate"}
        route_policy: [{permit: {paths: "*"}}]
    """
    with decided(text, opa_binary, tmp_path, authenticator=ByToken(), start=False) as house:
        assert house.address.get("/v1/health").status == 503
        answer = house.address.get("/v1/health/ready", ALICE)
        assert (answer.status, answer.json["status"]) == (503, "unavailable")
        assert answer.json["dependencies"]["policy"]["state"] == "down"
        assert answer.json["dependencies"]["policy"]["reason"] == "opa can't be reached"
