"""A whole world full of secrets: a caller, a provider, an issuer and an operator who all have some to lose."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.failing_provider import ANSWERS, SECRET, STATUSES, upstream
from tests.support.ostiary_run import environment, eventually
from tests.support.patience import PATIENCE
from tests.support.token_issuers import KeyServer, Signer, answer, claims, jwk_set, key_server

NEVER_ENDING = {"gated", "sleepy", "silent", "endless-event", "endless-stream", "lingers", "huge"}
"""Models that the caller has to hang up on."""

CONFIG = """\
version: 2
apis: [inference]
providers:
  inference:
    - provider_id: up
      provider_type: remote::openai
      config: {base_url: "${env.UPSTREAM}", api_key: "${env.PROVIDER_KEY}"}
models:
MODELS
server:
  decision_log: {path: PLACE/log/decisions.jsonl, rotate_at: 64KiB, keep: 20}
  opa: {decision_log: true}
  auth:
    provider_config:
      type: oauth2_token
      audience: ostiary
      issuer: https://issuer.example
      jwks: {uri: "${env.JWKS}", token: "${env.JWKS_TOKEN}"}
    route_policy:
      - permit: {paths: ["/v1/*", "/metrics"]}
"""


def planted(name: str) -> str:
    """A secret that occurs nowhere else."""
    return f"canary-{name}-{secrets.token_hex(8)}"


@dataclass
class Canary:
    """A running server, everything that must not be found, and everything that it answered to callers who failed."""

    folder: Path
    process: subprocess.Popen[bytes]
    signer: Signer
    keys: KeyServer
    secrets: set[str]
    address: str = ""
    refusals: list[str] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    def secret(self, name: str) -> str:
        """A new secret, which is looked for in the end."""
        self.secrets.add(made := planted(name))
        return made

    def token(self, signer: Signer | None = None, **changes: Any) -> str:
        """A token with a claim that nobody asked for; all of it but the head is a secret."""
        now = int(time.time())
        said = {"iat": now, "nbf": now, "exp": now + 600, "note": planted("claim"), "groups": ["staff"]}
        token = (signer or self.signer).token(claims(**(said | changes)))
        self.secrets |= {said["note"], token, *token.split(".")[1:]}
        return token

    def headers(self, token: str | None = None) -> dict[str, str]:
        """What a caller sends along."""
        return {
            "Authorization": f"Bearer {self.token() if token is None else token}",
            "Cookie": f"session={self.secret('cookie')}",
            "User-Agent": self.secret("agent"),
            "X-Api-Key": self.secret("header"),
            "Idempotency-Key": self.secret("idempotency"),
        }

    def chat(self, model: str, **more: Any) -> dict[str, Any]:
        """A body with a secret in each place where there may be one."""
        messages = [
            {"role": "system", "content": self.secret("system")},
            {"role": "user", "content": [{"type": "text", "text": self.secret("prompt")}]},
        ]
        body = {"model": model, "messages": messages, "metadata": {"note": self.secret("metadata")}, **more}
        return body | {"user": self.secret("user"), "tools": [{"type": "function", "function": {"name": "f"}}]}

    def ask(self, method: str, path: str, token: str | None = None, **request: Any) -> httpx.Response:
        """A whole exchange; a refusal is kept."""
        url = f"{self.address}{path}?key={self.secret('query')}"
        headers = self.headers(token) | {"Content-Type": "application/json"}
        answer = httpx.request(method, url, headers=headers, timeout=PATIENCE, **request)
        self.statuses.add(answer.status_code)
        if answer.status_code >= 400:
            self.refusals.append(f"{answer.headers}\n{answer.text}")
        return answer

    def hang_up(self, model: str, *, stream: bool) -> None:
        """Begin a chat and go away in the middle of it."""
        with contextlib.suppress(httpx.TimeoutException), httpx.Client(timeout=0.5) as client:
            url, body = f"{self.address}/v1/chat/completions", self.chat(model, stream=stream)
            with client.stream("POST", url, headers=self.headers(), json=body) as answer:
                next(answer.iter_raw(10), None)

    def raw(self, request: bytes) -> bytes:
        """Bytes as they are, and what comes back."""
        url = httpx.URL(self.address)
        with socket.create_connection((url.host, url.port or 0), timeout=PATIENCE) as connection:
            connection.sendall(request)
            found = b""
            while chunk := connection.recv(65536):
                found += chunk
        self.refusals.append(found.decode("latin-1"))
        return found

    @property
    def said(self) -> str:
        """Standard error so far."""
        return (self.folder / "stderr").read_text()

    def written(self) -> dict[Path, bytes]:
        """Every file that there is; the server had no other place to write to."""
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def hits(self) -> list[tuple[str, str]]:
        """Where a secret was found, and which."""
        places = {str(path.relative_to(self.folder)): content for path, content in self.written().items()}
        places |= {f"answer {number}": text.encode() for number, text in enumerate(self.refusals)}
        return [
            (place, found) for place, content in places.items() for found in self.secrets if found.encode() in content
        ]


@contextmanager
def canary(folder: Path, opa: Path) -> Iterator[Canary]:
    """A server with a provider that fails in all its ways; all that it can write is in `folder`."""
    signer = Signer.rsa()
    with upstream() as provider, key_server() as keys:
        keys.content = jwk_set(signer)
        environ = environment(folder, opa) | {
            "TMPDIR": str(folder / "tmp"),
            "UPSTREAM": f"{provider.url}/v1",
            "PROVIDER_KEY": planted("provider-key"),
            "JWKS": f"{keys.url}?subscription-key={(subscription := planted('subscription-key'))}#{subscription}",
            "JWKS_TOKEN": planted("jwks-token"),
        }
        names = ["fine", *STATUSES, *ANSWERS]
        models = "\n".join(f"  - {{model_id: {name}, provider_id: up}}" for name in names)
        for place in ("tmp", "log", "work"):
            (folder / place).mkdir()
        config = folder / "config.yaml"
        config.write_text(CONFIG.replace("MODELS", models).replace("PLACE", str(folder)))
        with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
            command = [sys.executable, "-m", "server.cli.main", "run", str(config), "--port", "0"]
            environ["PYTHONPATH"] = str(Path(__file__).parents[2])
            process = subprocess.Popen(command, env=environ, cwd=folder / "work", stdout=stdout, stderr=stderr)
        kept = {SECRET, subscription, environ["PROVIDER_KEY"], environ["JWKS_TOKEN"]}
        found = Canary(folder, process, signer, keys, kept)
        try:
            assert eventually(lambda: "Try in another" in found.said or process.poll() is not None), found.said
            found.address = next(line.split()[-1] for line in found.said.splitlines() if " serves on " in line)
            yield found
        finally:
            process.kill()
            process.wait()


def succeed(canary: Canary) -> None:
    """Requests that go well."""
    assert canary.ask("POST", "/v1/chat/completions", json=canary.chat("fine")).status_code == 200
    assert canary.ask("POST", "/v1/chat/completions", json=canary.chat("fine", stream=True)).status_code == 200
    for path in ("/v1/models", "/v1/models/fine", "/v1/providers", "/v1/health/ready", "/metrics"):
        answer = canary.ask("GET", path)
        assert answer.status_code == 200
        canary.refusals.append(answer.text)  # not refused, but nothing that a caller sent belongs there either


def fail_upstream(canary: Canary) -> None:
    """A provider that refuses, breaks off and talks nonsense."""
    for name in [*STATUSES, *ANSWERS]:
        for stream in (False, True):
            if name in NEVER_ENDING:
                canary.hang_up(name, stream=stream)
            else:
                canary.ask("POST", "/v1/chat/completions", json=canary.chat(name, stream=stream))


def fail_as_caller(canary: Canary) -> None:
    """Requests that nobody can grant."""
    secret = canary.secret
    for content in (
        f'{{"model": "{secret("truncated")}"',
        f'{{"{secret("key")}": NaN}}',
        f'{{"model": ["{secret("type")}"]}}',
        f'{{"model": "fine", "messages": "{secret("messages")}"}}',
        f'{{"model": "fine", "messages": [{{"role": 1, "content": "{secret("role")}"}}]}}',
        f'{{"model": "fine", "model": "{secret("double")}"}}',
        f'"{secret("text")}' + '["' * 5000,
        f"\ud800{secret('surrogate')}".encode("utf-8", "surrogatepass"),
    ):
        assert canary.ask("POST", "/v1/chat/completions", content=content).status_code == 400
    canary.ask("POST", "/v1/chat/completions", json=canary.chat("no-such-model"))
    canary.ask("DELETE", "/v1/models")
    canary.ask("GET", "/v1/nothing/here")
    canary.ask("GET", "/elsewhere")
    for line in (b"X: \x1b[2J%b", b"Host: %b", b"Authorization: Basic %b", b"%b", b"Content-Length: %b"):
        bad = line % secret("raw").encode()
        canary.raw(b"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%b\r\n\r\n" % bad)
    canary.raw(b"GET /v1/models/\x1b%b HTTP/1.1\r\nHost: a\r\n\r\n" % secret("line").encode())


def fail_as_nobody(canary: Canary) -> None:
    """Tokens that prove nothing, and keys that can't be had."""
    now = int(time.time())
    for token in (
        secret_text(canary, "opaque"),
        canary.token(Signer.rsa("rsa-1")),
        canary.token(exp=now - 600, iat=now - 1200, nbf=now - 1200),
        canary.token(aud="another"),
        canary.token(sub=["no", "text"]),
        canary.token() + "x",
    ):
        assert canary.ask("GET", "/v1/models", token).status_code == 401
    noise = canary.secret("keys")
    for content in (noise.encode(), f'{{"keys": [{{"kty": "{noise}"}}]}}'.encode()):
        canary.keys.behaviour = lambda handler, content=content: answer(handler, 500, content)  # type: ignore[misc]
        canary.ask("GET", "/v1/models", canary.token(Signer.rsa(f"unknown-{secrets.token_hex(4)}")))
    canary.keys.behaviour = canary.keys.publish


def secret_text(canary: Canary, name: str) -> str:
    """A token that is none."""
    return canary.secret(name)
