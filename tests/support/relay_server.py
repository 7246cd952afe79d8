"""The application as a configuration describes it, in front of scripted providers; everything is permitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path
from typing import Any

from server.config import Config
from server.wiring import application
from server.wiring.decisions import Telemetry, measured
from tests.support.application import AlwaysReady, ByToken
from tests.support.real_policy import read
from tests.support.scripted_provider import Scripted, framed, scripted, sending
from tests.support.serving import Address, Answer, serving
from tests.support.unsafe_policy import UnsafePermitAll

CHATS = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "hi"}]

JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"

ANSWER = {
    "id": "chatcmpl-far",
    "object": "chat.completion",
    "created": 1,
    "model": "far-m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "yes"}, "logprobs": None, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


def whole(document: Any, head: bytes = JSON_HEAD) -> bytes:
    """An answer with this body; bytes go as they are."""
    body = document if isinstance(document, bytes) else dumps(document).encode()
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def streamed(*events: bytes, head: bytes = STREAM_HEAD) -> bytes:
    """An answer that ends properly, each of these a part of it."""
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(map(framed, events)) + b"0\r\n\r\n"


def event(document: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + (document if isinstance(document, bytes) else dumps(document).encode()) + b"\n\n"


DONE = event(b"[DONE]")


@dataclass(frozen=True, slots=True)
class Relaying:
    """The running server, and the provider behind it."""

    address: Address
    far: Scripted
    telemetry: Telemetry

    def chat(self, caller: str = "alice", *, model: str = "p/m", **more: Any) -> Answer:
        """The answer to a chat."""
        body = {"model": model, "messages": MESSAGES, **more}
        return self.address.post(CHATS, body, f"Authorization: Bearer {caller}")

    def answers(self, *answers: bytes) -> None:
        """Send exactly these bytes from now on, and forget what was asked."""
        self.far.asked.clear()
        self.far.play(sending(*answers))

    @property
    def body(self) -> Any:
        """The body of the last request that reached the provider."""
        return loads(self.far.asked[-1][1])

    @property
    def head(self) -> str:
        """The head of that request."""
        return self.far.asked[-1][0]


def configuration(folder: Path, providers: str, models: str = "", more: str = "") -> str:
    """A configuration with these providers, each an entry of the list in flow style, and `p/m` among its models."""
    return f"""
    version: 2
    apis: [inference]
    providers:
      inference: [{providers}]
    models:
    - {{model_id: m, provider_id: p, provider_model_id: far-m}}
    {models}
    storage:
      backends:
        sql: {{type: sql_sqlite, db_path: "{folder / "records.db"}"}}
    {more}
    """


@contextmanager
def relaying(
    folder: Path,
    provider: str = "provider_type: remote::vllm, config: {url: URL}",
    *,
    models: str = "",
    more: str = "",
    environ: Mapping[str, str] | None = None,
) -> Iterator[Relaying]:
    """The server with one provider `p`, whose settings say `URL` for the address of a scripted server."""
    with scripted() as far:
        far.play(sending(whole(ANSWER)))
        text = configuration(folder, f"{{provider_id: p, {provider}}}".replace("URL", far.url), models, more)
        config = read(text, environ)
        with serving_config(config) as (address, telemetry):
            yield Relaying(address, far, telemetry)


@contextmanager
def serving_config(config: Config) -> Iterator[tuple[Address, Telemetry]]:
    """The application that a configuration describes, which permits everything to everybody."""
    telemetry = measured(config)
    app = application.build(config, UnsafePermitAll(), ByToken(), AlwaysReady(), telemetry)
    with serving(app) as address:
        yield address, telemetry
