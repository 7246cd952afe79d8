"""A server as the runbook finds it, and a shell in which its commands run as they are printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.ostiary_run import Running, environment, running

PAGE = Path(__file__).parents[2] / "docs/operate/runbook.md"
TEXT = PAGE.read_text()
_BLOCK = re.compile(
    r"^(?P<margin> *)<!-- run: (?P<name>[a-z-]+) -->\n *```sh\n(?P<code>.*?)^ *```$", re.DOTALL | re.MULTILINE
)

BLOCKS = {
    found["name"]: "\n".join(line.removeprefix(found["margin"]) for line in found["code"].splitlines())
    for found in _BLOCK.finditer(TEXT)
}
"""The commands of each entry, by the name above them."""

CONFIG = """\
version: 2
apis: [inference]
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
    - {provider_id: far, provider_type: remote::vllm, config: {url: "http://127.0.0.1:9"}}
models:
  - {provider_id: echo, model_id: m}
  - {provider_id: echo, model_id: secret}
  - {provider_id: far, model_id: away}
server:
  decision_log: FOLDER/decisions.jsonl
  auth:
    provider_config:
      type: oauth2_token
      audience: ostiary
      issuer: ostiary-development
      jwks: {uri: "file://${env.OSTIARY_HOME}/development-jwks.json"}
      claims_mapping: {roles: roles, teams: teams}
    route_policy:
      - permit: {paths: [/v1/health, /v1/version]}
      - permit: {paths: [/v1/health/ready, /metrics]}
        when: user with operator in roles
      - permit: {paths: ["/v1/models", "/v1/models/*", "/v1/chat/completions"]}
        when: user with viewer in roles
      - permit: {paths: "/v1/*"}
        when: user with developer in roles
    access_policy:
      - forbid: {actions: read, resource: "regex:model::(.*/)?secret$"}
        unless: user with research in teams
        description: the secret model is for the research team
      - permit: {actions: read, resource: "model::*"}
        when: user is authenticated
      - permit: {actions: read, resource: "provider::*"}
        when: user with operator in roles
      - permit: {actions: [create, read, update, delete], resource: "sql_record::*"}
        when: user is owner
"""


@dataclass
class Desk:
    """The person on call: a folder, variables, and perhaps a server that runs."""

    folder: Path
    environ: dict[str, str]
    server: Running | None = None
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The configuration of the server."""
        return self.folder / "config.yaml"

    def run(self, *names: str, **variables: str) -> str:
        """What the commands of these entries print; they must succeed."""
        code = "\n".join(BLOCKS[name] for name in names)
        done = subprocess.run(
            ["/bin/bash", "-c", f"set -e\n{code}"],
            cwd=self.folder,
            env={**self.environ, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def token(self, subject: str, role: str) -> str:
        """A token of the development key."""
        if subject not in self.tokens:
            made = subprocess.run(
                [sys.executable, "-m", "server.cli.main", "token", "--subject", subject, "--role", role],
                env=self.environ,
                capture_output=True,
                text=True,
                check=True,
            )
            self.tokens[subject] = made.stdout.strip()
        return self.tokens[subject]

    def ask(self, method: str, path: str, token: str, **body: Any) -> httpx.Response:
        """One request to the server."""
        assert self.server is not None
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.request(method, self.server.address + path, headers=headers, timeout=30, trust_env=False, **body)

    def records(self) -> list[dict[str, Any]]:
        """The decision log."""
        return [json.loads(line) for line in (self.folder / "decisions.jsonl").read_text().splitlines()]

    @contextmanager
    def serving(self) -> Iterator[Running]:
        """The server runs, and the variables of the runbook say so."""
        with running(self.config, self.environ) as server:
            self.server = server
            self.environ |= {
                "OSTIARY": server.address,
                "PID": str(server.process.pid),
                "HOST": "127.0.0.1",
                "PORT": str(server.port),
                "TOKEN": self.token("ops", "operator"),
            }
            yield server


def desk(folder: Path, opa: Path, config: str = CONFIG) -> Desk:
    """A desk with that configuration; `FOLDER` in it is the folder."""
    environ = environment(folder, opa) | {
        "CONFIG": str(folder / "config.yaml"),
        "LOG": str(folder / "decisions.jsonl"),
        "OSTIARY_HOME": str(folder / "home"),
    }
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    (folder / "config.yaml").write_text(config.replace("FOLDER", str(folder)))
    return Desk(folder, environ)
