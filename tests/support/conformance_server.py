"""The whole server, as `ostiary run` starts it, for the configuration of a conformance file."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import yaml

from server.authn.development import DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER, development_jwks, issue_token
from tests.support.conformance_files import Case, ConformanceFile
from tests.support.patience import PATIENCE, START

_ADDRESS = re.compile(r"serves on (http://\S+)")


class ConformanceServer:
    """A context in which the server runs; who vouches for callers is the development key, whoever the file names."""

    def __init__(self, file: ConformanceFile, opa: Path) -> None:
        self._file = file
        self._opa = opa

    def __enter__(self) -> ConformanceServer:
        # Not below pytest's folders: the path of a Unix socket may hold about 100 characters.
        self._folder = tempfile.TemporaryDirectory(prefix="ostiary-")
        self._home = Path(self._folder.name)
        config = self._home / "config.yaml"
        config.write_text(self._config())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "server.cli.main", "run", config, "--port", "0"],
            env={**os.environ, **self._file.environ, **self._places()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: list[str] = []
        self._address: queue.Queue[str | None] = queue.Queue()
        self._decisions: queue.Queue[dict[str, Any]] = queue.Queue()
        self._listeners = [threading.Thread(target=listen) for listen in (self._hear_speech, self._hear_decisions)]
        for listener in self._listeners:
            listener.start()
        address = self._address.get(timeout=START)
        if address is None:
            self.__exit__(None, None, None)
            raise AssertionError("".join(self._said))
        self._client = httpx.Client(base_url=address, trust_env=False, timeout=PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "_client"):
            self._client.close()
        self._process.terminate()
        self._process.wait(timeout=PATIENCE)
        for listener in self._listeners:
            listener.join()
        self._folder.cleanup()

    def ask(self, case: Case) -> tuple[httpx.Response, dict[str, Any]]:
        """The answer to a case's request, and the decision that the log holds of it."""
        assert case.http is not None
        route = case.question.get("route", {"method": "GET", "path": None})
        response = self._client.request(
            case.http.method or route["method"],
            case.http.path or route["path"],
            json=case.http.body,
            headers=self._credentials(case.question["principal"]),
        )
        while True:
            decision = self._decisions.get(timeout=PATIENCE)
            if decision["request_id"] == response.headers["x-request-id"] and case.asked in decision:
                return response, decision

    def _config(self) -> str:
        config = yaml.safe_load(self._file.config)
        config["server"]["decision_log"] = "stdout"
        auth = config["server"]["auth"]
        if "provider_config" in auth:
            auth["provider_config"] = {
                "type": "oauth2_token",
                "issuer": DEVELOPMENT_ISSUER,
                "audience": DEVELOPMENT_AUDIENCE,
                "jwks": {"uri": f"file://{development_jwks(self._home)}"},
                "claims_mapping": {name: name for name in ("roles", "teams", "projects", "namespaces")},
            }
        return yaml.safe_dump(config, sort_keys=False)

    def _places(self) -> dict[str, str]:
        return {"OSTIARY_HOME": str(self._home), "OSTIARY_OPA": str(self._opa), "XDG_RUNTIME_DIR": str(self._home)}

    def _credentials(self, principal: dict[str, Any] | None) -> dict[str, str]:
        if principal is None:
            return {}
        return {"Authorization": f"Bearer {issue_token(self._home, principal['id'], **principal['attributes'])}"}

    def _hear_speech(self) -> None:
        """Take down what the server says, so that its pipe never fills, and pass on where it serves."""
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._said.append(line)
                if found := _ADDRESS.search(line):
                    self._address.put(found[1])
        self._address.put(None)

    def _hear_decisions(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._decisions.put(json.loads(line))
