"""A real OPA for tests, as a server on a private Unix socket and as `opa test`, and the bundles that it judges by."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from tests.support.conformance_files import CONFIG_NAME, Case
from translators.compiler import Bundle, compile_policies

ANSWER = "/v1/data/ostiary/decision/answer?strict-builtin-errors=true"
"""Where the server asks its questions."""

NOTHING_SET: Mapping[str, str] = {}

_START_SECONDS = 20.0

_TEST = b"""package ostiary.conformance_test

import data.ostiary.conformance
import data.ostiary.decision

test_case[name] if {
	some name, case in conformance
	answer := decision.answer with input as case.question
	decided := answer[case.asked]
	object.filter(decided, object.keys(case.expected)) == case.expected
}
"""


class OpaServer:
    """A context in which a real OPA answers; it serves `bundle`, or starts empty."""

    def __init__(self, binary: Path, bundle: bytes | None = None) -> None:
        self._binary = binary
        self._bundle = bundle

    def __enter__(self) -> Self:
        # Not below pytest's folders: the path of a Unix socket may hold about 100 characters.
        self._folder = tempfile.TemporaryDirectory(prefix="ostiary-")
        folder = Path(self._folder.name)
        address = self.address = folder / "opa.sock"
        command: list[str | Path] = [self._binary, "run", "--server", "--skip-version-check", "--log-level", "error"]
        command += ["--addr", f"unix://{address}"]
        if self._bundle is not None:
            (folder / "bundle.tar.gz").write_bytes(self._bundle)
            command += ["--bundle", folder / "bundle.tar.gz"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            self._connection = _connected(address, self._process)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "_connection"):
            self._connection.close()
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one question, as the server would get it."""
        status, answer = self.request("POST", ANSWER, json.dumps({"input": question}).encode())
        assert status == http.HTTPStatus.OK, answer
        result: dict[str, Any] = answer["result"]
        return result

    def request(self, method: str, path: str, body: bytes, content: str = "application/json") -> tuple[int, Any]:
        """One request of OPA's REST interface; the answer's status and its JSON, None where it has no body."""
        self._connection.request(method, path, body, {"Content-Type": content})
        response = self._connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text else None


class LiveOpa(OpaServer):
    """An OPA whose policies are exchanged through its REST interface, which takes a few milliseconds."""

    def __init__(self, binary: Path) -> None:
        super().__init__(binary)
        self._loaded: Mapping[str, bytes] = {}

    def load(self, bundle: Bundle) -> None:
        """Put what differs from the last bundle in force, and nothing else."""
        files = {path: content for path, content in bundle.files.items() if path != ".manifest"}
        for path in self._loaded.keys() - files.keys():
            self._send("DELETE", path, b"")
        waiting = {path for path, content in files.items() if self._loaded.get(path) != content}
        while waiting:
            # OPA refuses a module that calls a function of one which isn't there yet.
            refusals = {path: self._send("PUT", path, files[path]) for path in sorted(waiting)}
            refused = {path for path, refusal in refusals.items() if refusal is not None}
            assert refused != waiting, refusals
            waiting = refused
        self._loaded = files

    def _send(self, method: str, path: str, content: bytes) -> Any:
        folder, _, name = path.rpartition("/")
        data = name == "data.json"
        target = f"/v1/data/{folder}" if data else f"/v1/policies/{quote(path, safe='')}"
        status, answer = self.request(method, target, content, "application/json" if data else "text/plain")
        return None if status in (http.HTTPStatus.OK, http.HTTPStatus.NO_CONTENT) else answer


def compile_config(text: str, environ: Mapping[str, str] = NOTHING_SET) -> Bundle:
    """The bundle of a configuration, which must be free of errors."""
    findings = Findings()
    policies = read_policies(parse_document(text, CONFIG_NAME), environ, findings)
    assert policies is not None, findings.diagnostics
    return compile_policies(policies)


def opa_test(binary: Path, files: Mapping[str, bytes], cases: Iterable[Case], folder: Path) -> dict[str, bool]:
    """Write a compiled bundle to `folder`, the cases as a Rego test beside it, run `opa test`; which cases passed?"""
    table = {
        case.id: {"question": case.engine_question, "asked": case.asked, "expected": expected(case)} for case in cases
    }
    beside = {
        "ostiary/conformance_test.rego": _TEST,
        # As data, since text in Rego may not hold everything that a question may hold.
        "ostiary/conformance/data.json": json.dumps(table).encode(),
    }
    for path, content in {**files, **beside}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    done = subprocess.run(
        [binary, "test", "--format", "json", "--fail-on-empty", "--bundle", folder], capture_output=True, check=False
    )
    results = [result for result in json.loads(done.stdout) if result["package"] == "data.ostiary.conformance_test"]
    assert len(results) == 1, done.stderr.decode()
    return {name: not result.get("fail", False) for name, result in results[0]["sub_results"].items()}


def expected(case: Case) -> dict[str, Any]:
    """The part of the engine's decision that a case fixes."""
    decision = {"effect": case.decision, "rule": case.rule, "obligations": case.obligations}
    return decision if case.reason is None else {**decision, "reason": case.reason}


def _connected(address: Path, process: subprocess.Popen[bytes]) -> http.client.HTTPConnection:
    """A connection to OPA once it listens; OPA says nothing when it does, so the socket is tried until it answers."""
    connection = http.client.HTTPConnection("localhost", timeout=_START_SECONDS)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "opa ended at its start"
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.connect(str(address))
        except OSError:
            connection.close()
            time.sleep(0.005)
        else:
            connection.auto_open = 0
            return connection
    raise TimeoutError("opa did not start")
