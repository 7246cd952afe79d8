"""No secret of a caller, of an operator or of a service that vouches is written anywhere, whoever vouches."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import redis

from tests.support.canary import planted
from tests.support.identity_services import Asked, Authority, Service, service
from tests.support.ostiary_run import children, environment, eventually
from tests.support.patience import PATIENCE
from tests.support.valkey import running_valkey

CONFIG = """\
version: 2
apis: [inference]
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
models:
  - {model_id: m, provider_id: echo}
storage:
  backends:
    counters: {type: kv_redis, host: 127.0.0.1, port: VALKEY_PORT, password: "${env.VALKEY_PASSWORD}"}
server:
  decision_log: PLACE/decisions.jsonl
  tls_certfile: PLACE/pair.pem
  tls_keyfile: PLACE/pair.pem
  workers: WORKERS
  quota:
    kvstore: {backend: counters, namespace: quotas}
    anonymous_max_requests: 100000
    authenticated_max_requests: 5
    max_tokens_per_period: 100000
  auth:
    provider_config: PROVIDER
    route_policy:
      - permit: {paths: ["/v1/*", "/metrics"]}
"""


@dataclass
class World:
    """A server, what it must keep to itself, and what it answered."""

    folder: Path
    process: subprocess.Popen[bytes]
    secrets: set[str]
    address: str = ""
    answers: list[str] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    @property
    def said(self) -> str:
        """Standard error so far."""
        return (self.folder / "stderr").read_text()

    def ask(self, path: str, token: str | None, **request: Any) -> None:
        """One exchange, whose answer is kept."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with httpx.Client(verify=False, trust_env=False, timeout=PATIENCE) as client:  # noqa: S501 - the certificate is not what is tested
            answer = client.request("POST" if request else "GET", f"{self.address}{path}", headers=headers, **request)
        self.statuses.add(answer.status_code)
        self.answers.append(f"{answer.headers}\n{answer.text}")

    def hits(self) -> list[tuple[str, str]]:
        """Where a secret was found, and which; the certificate's key may stand in its own file alone."""
        files = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        places = {str(path.relative_to(self.folder)): content for path, content in files.items()}
        assert places.pop("pair.pem")
        places |= {f"answer {number}": text.encode() for number, text in enumerate(self.answers)}
        for pid in [self.process.pid, *children(self.process.pid)] if self.process.poll() is None else []:
            # Whoever may list processes reads these.
            places[f"command line {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
        return [(place, found) for place, text in places.items() for found in self.secrets if found.encode() in text]


@contextmanager
def world(folder: Path, opa: Path, provider: str, environ: dict[str, str], workers: int = 1) -> Iterator[World]:
    """`ostiary run` with every file that it can write in `folder`, and a Valkey with a password."""
    password = planted("valkey-password")
    for place in ("tmp", "work", "home"):
        (folder / place).mkdir(exist_ok=True)
    pair = Authority(folder.parent / f"{folder.name}-ca").issue(folder / "pair.pem").read_text()
    key = [line for line in pair.partition("-----END PRIVATE KEY-----")[0].splitlines() if "-" not in line]
    with running_valkey() as store:
        with redis.Redis.from_url(store.connection_url) as admin:
            admin.config_set("requirepass", password)
        port = store.connection_url.rpartition(":")[2].partition("/")[0]
        given = environment(folder, opa) | environ
        given |= {"TMPDIR": str(folder / "tmp"), "OSTIARY_HOME": str(folder / "home")}
        given |= {"VALKEY_PASSWORD": password, "PYTHONPATH": str(Path(__file__).parents[2])}
        config = folder / "config.yaml"
        text = CONFIG.replace("PROVIDER", provider).replace("PLACE", str(folder)).replace("WORKERS", str(workers))
        config.write_text(text.replace("VALKEY_PORT", port))
        with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
            command = [sys.executable, "-m", "server.cli.main", "run", str(config), "--port", "0"]
            process = subprocess.Popen(command, env=given, cwd=folder / "work", stdout=stdout, stderr=stderr)
        found = World(folder, process, {password, *key, *environ.values()})
        try:
            assert eventually(lambda: "Try in another" in found.said or process.poll() is not None), found.said
            found.address = next(line.split()[-1] for line in found.said.splitlines() if " serves on " in line)
            yield found
        finally:
            process.kill()
            process.wait()


def drive(found: World, good: str, peer: Service | None) -> None:
    """Every fate that a request can have: let in, refused, over its share, and judged by nobody."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    found.secrets |= {good, sha256(good.encode()).hexdigest(), base64.b64encode(good.encode()).decode()}
    for path in ("/v1/models", "/v1/health/ready", "/metrics", "/v1/providers"):
        found.ask(path, good)
    for streamed in (False, True):
        found.ask("/v1/chat/completions", good, json=body | {"stream": streamed})
    for _ in range(6):
        found.ask("/v1/models", good)
    for name in ("bad", "worse"):
        token = planted(name)
        found.secrets.add(token)
        found.ask("/v1/models", token)
    found.ask("/v1/models", None)
    assert {200, 401, 429} <= found.statuses
    if peer is not None:
        replies: list[Any] = [(500, {"said": good}), (200, good.encode()), (302, b"", {"location": f"/{good}"})]
        replies += [(200, {"sub": [good], "principal": [good], "login": [good], "active": True})]
        for reply in replies:
            peer.reply = lambda asked, reply=reply: reply
            token = planted("unjudged")
            found.secrets.add(token)
            found.ask("/v1/models", token)
        assert 503 in found.statuses


def end(found: World) -> None:
    """Look while it runs, stop it, and look again."""
    assert found.hits() == []
    found.process.send_signal(signal.SIGTERM)
    assert eventually(lambda: found.process.poll() is not None)
    assert found.hits() == []
    assert len(found.secrets) > 5
    # The search would find each; a secret may stand in another one, so that two are found at once.
    for secret in found.secrets:
        found.answers.append(f"x{secret}x")
        hits = found.hits()
        assert {name for name, _ in hits} == {f"answer {len(found.answers) - 1}"}
        assert secret in {planted for _, planted in hits}
        found.answers.pop()


def test_api_keys(tmp_path: Path, opa_binary: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "home").mkdir()
    command = [sys.executable, "-m", "server.cli.main", "key", "create", "--principal", "ci"]
    given = os.environ | {"OSTIARY_HOME": str(tmp_path / "w" / "home")}
    made = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
    key = made.stdout.strip()
    with world(tmp_path / "w", opa_binary, "{type: api_key}", {}) as found:
        found.secrets.add(key.split("_", 2)[2])
        drive(found, key, None)
        end(found)


@pytest.mark.parametrize("in_body", [False, True])
def test_introspection(in_body: bool, tmp_path: Path, opa_binary: Path) -> None:
    good, secret = planted("opaque"), planted("client+secret/=")

    def issuer(asked: Asked) -> tuple[int, Any]:
        return 200, {"active": True, "sub": "ann", "aud": "a"} if good.encode() in asked.body else {"active": False}

    (tmp_path / "w").mkdir()
    with service(issuer) as peer:
        provider = (
            f'{{type: oauth2_token, issuer: "https://sso.example", audience: a, introspection: {{url: "{peer.url}", '
            f'client_id: ostiary, client_secret: "${{env.SECRET}}", send_secret_in_body: {str(in_body).lower()}}}}}'
        )
        with world(tmp_path / "w", opa_binary, provider, {"SECRET": secret}, workers=2) as found:
            pair = base64.b64encode(f"ostiary:{quote(secret, safe='')}".encode()).decode()
            found.secrets |= {pair, quote(secret, safe="")}
            drive(found, good, peer)
            end(found)


def test_an_endpoint_of_ones_own_and_its_key_for_names(tmp_path: Path, opa_binary: Path) -> None:
    good, name_key = planted("custom"), secrets.token_urlsafe(40)

    def endpoint(asked: Asked) -> tuple[int, Any]:
        return (200, {}) if good.encode() in asked.body else (401, {})

    (tmp_path / "w").mkdir()
    with service(endpoint) as peer:
        provider = f'{{type: custom, endpoint: "{peer.url}/validate", name_key: "${{env.NAME_KEY}}"}}'
        with world(tmp_path / "w", opa_binary, provider, {"NAME_KEY": name_key}) as found:
            drive(found, good, peer)
            end(found)


@pytest.mark.parametrize("kind", ["github_token", "kubernetes"])
def test_tokens_of_others(kind: str, tmp_path: Path, opa_binary: Path) -> None:
    good = planted(kind)

    def judge(asked: Asked) -> tuple[int, Any]:
        if asked.headers["authorization"] != f"Bearer {good}":
            return 401, {}
        if kind == "kubernetes":
            return 201, {"status": {"userInfo": {"username": "ann"}}}
        return 200, {"login": "ann"} if asked.target == "/user" else []

    (tmp_path / "w").mkdir()
    with service(judge) as peer:
        place = "github_api_base_url" if kind == "github_token" else "api_server_url"
        with world(tmp_path / "w", opa_binary, f'{{type: {kind}, {place}: "{peer.url}"}}', {}) as found:
            drive(found, good, peer)
            end(found)


@pytest.mark.parametrize("kind", ["kv_redis", "kv_postgres"])
def test_a_store_out_of_reach_is_said_without_its_password(kind: str, tmp_path: Path, opa_binary: Path) -> None:
    password, user = planted("password"), ", user: u" if kind == "kv_postgres" else ""
    backend = f'{{type: {kind}, host: 127.0.0.1, port: 1{user}, password: "${{env.PASSWORD}}"}}'
    config = tmp_path / "config.yaml"
    config.write_text(
        "version: 2\n"
        f"storage: {{backends: {{counters: {backend}}}}}\n"
        "server: {quota: {kvstore: {backend: counters, namespace: q}, anonymous_max_requests: 5}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "server.cli.main", "run", str(config), "--port", "0"],
        env=environment(tmp_path, opa_binary) | {"PASSWORD": password},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode != 0
    assert "`127.0.0.1:1` can't be used: Connection refused" in done.stderr
    assert "`storage.backends.counters`" in done.stderr
    assert password not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
