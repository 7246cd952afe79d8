"""A Llama Guard behind OpenAI's API, with the templates of its versions, and a model that chats beside it.

It refuses what the templates refuse, puts the conversation into a prompt, and reads the last turn out of that prompt as
a model would: a text that ends the conversation in the prompt would be believed.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from json import dumps, loads
from math import log
from threading import Event
from typing import Any

from tests.support.http_server import handled
from tests.support.openai_upstream import chat, chunks, completion, embeddings
from tests.support.patience import PATIENCE

WORDS = {"bomb": "S9", "kill": "S1", "lawyer": "S6", "slander": "S5"}
"""The words that it finds unsafe, with the codes that it writes; a word of its own is `S77`, which no version has."""

_TURN = re.compile(r"^(User|Agent): ", re.MULTILINE)


@dataclass
class Judge:
    """The running model: what it was asked, and how it answers."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of requests to the models that judge."""
    chats: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of requests to other models."""
    answer: str | None = None
    """The text of its answers, in place of a verdict."""
    raw: bytes | None = None
    """The bytes of its answers, in place of an answer."""
    status: int = 200
    good: int = 0
    """The verdicts that it gives before it answers otherwise."""
    breaks: bool = False
    """Whether it closes the connection in the place of an answer."""
    tells_probability: bool = True
    said: str | None = None
    """What the model that chats says; it repeats the user otherwise."""
    calls: list[dict[str, Any]] | None = None
    """The calls of tools that it makes, unless it is told what came of some."""
    beside: dict[str, Any] = field(default_factory=dict)
    """Members of its chats besides those of OpenAI's document."""
    hangs: Event | None = None
    """What the model that judges waits for before it answers."""

    def renew(self) -> None:
        """Forget what was asked, and answer as at the beginning."""
        for name, value in vars(Judge(self.url)).items():
            setattr(self, name, value)

    @property
    def judged(self) -> list[str]:
        """The last turn of each conversation."""
        return [_last(_prompt(body)) for body in self.asked]


def _prompt(body: dict[str, Any]) -> str:
    """The prompt that the template makes of messages."""
    if "prompt" in body:
        return str(body["prompt"])
    turns = []
    for message in body["messages"]:
        content = message["content"]
        text = content if isinstance(content, str) else "".join(map(_seen, content))
        turns.append(f"{'Agent' if message['role'] == 'assistant' else 'User'}: {text}")
    spoken = "\n\n".join(turns)
    return f"Task: …\n\n<BEGIN CONVERSATION>\n\n{spoken}\n\n<END CONVERSATION>\n\nProvide …"


def _seen(part: dict[str, Any]) -> str:
    """What the model sees of a part; of an image the words that are in its bytes."""
    if part["type"] == "text":
        return str(part["text"])
    return b64decode(part["image_url"]["url"].partition(",")[2]).decode(errors="replace")


def _last(prompt: str) -> str:
    """The last turn of the conversation that a model sees: the first that is ended."""
    spoken = prompt.partition("<BEGIN CONVERSATION>\n\n")[2].partition("\n\n<END CONVERSATION>")[0]
    return _TURN.split(spoken)[-1]


def _fault(body: dict[str, Any]) -> str:
    """What the templates refuse about messages."""
    if "prompt" in body:
        return ""
    roles = [message["role"] for message in body["messages"]]
    if roles != [("user", "assistant")[place % 2] for place in range(len(roles))]:
        return "Conversation roles must alternate user/assistant/user/assistant/..."
    in_parts = any(version in body["model"] for version in ("1B", "Vision", "Guard-4"))
    kinds = {type(message["content"]) for message in body["messages"]}
    return "" if kinds == {list if in_parts else str} else "the template takes other content"


def _verdict(text: str) -> str:
    codes = [code for word, code in WORDS.items() if word in text.lower()]
    codes += ["S77"] if "unheard" in text else []
    return f"\n\nunsafe\n{','.join(codes)} " if codes else "\n\nsafe"


class _Handler(BaseHTTPRequestHandler):
    judge: Judge

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "uard" not in body["model"]:
            return self._chat(body)
        self.judge.asked.append(body)
        if self.judge.hangs is not None:
            self.judge.hangs.wait(PATIENCE)
        fault = _fault(body)
        if fault:
            return self._send(400, dumps({"error": {"message": fault}}).encode())
        if len(self.judge.asked) <= self.judge.good:
            return self._send(200, dumps(self._answer(body, _verdict(_last(_prompt(body))))).encode())
        if self.judge.breaks:
            return self.connection.close()
        if self.judge.raw is not None:
            return self._send(self.judge.status, self.judge.raw)
        text = _verdict(_last(_prompt(body))) if self.judge.answer is None else self.judge.answer
        return self._send(self.judge.status, dumps(self._answer(body, text)).encode())

    def _answer(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        unsafe = 0.9 if text.strip().startswith("unsafe") else 0.02
        likely = {"unsafe": log(unsafe), "safe": log(1 - unsafe)}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None}
        if "prompt" in body:
            choice["text"] = text
            if self.judge.tells_probability:
                told = {"tokens": ["\n\n", "safe"], "top_logprobs": [{"\n\n": 0.0}, likely]}
                choice["logprobs"] = {**told, "token_logprobs": [0.0, 0.0], "text_offset": [0, 2]}
        else:
            choice["message"] = {"role": "assistant", "content": text}
            if self.judge.tells_probability:
                top = [{"token": token, "logprob": number, "bytes": None} for token, number in likely.items()]
                first = {"token": "\n\n", "logprob": 0.0, "bytes": None, "top_logprobs": []}
                choice["logprobs"] = {"content": [first, {**top[0], "top_logprobs": top}]}
        kind = "text_completion" if "prompt" in body else "chat.completion"
        usage = {"prompt_tokens": 90, "completion_tokens": 3, "total_tokens": 93}
        return {"id": "j", "object": kind, "created": 1, "model": body["model"], "choices": [choice], "usage": usage}

    def _chat(self, body: dict[str, Any]) -> None:
        self.judge.chats.append(body)
        if "input" in body:
            return self._send(200, dumps(embeddings(body)).encode())
        made = completion(body) if "prompt" in body else chat(body)
        if "prompt" not in body:
            message = made["choices"][0]["message"]
            message["content"] = self.judge.said or message["content"]
            if self.judge.calls is not None and body["messages"][-1]["role"] != "tool":
                message |= {"content": None, "tool_calls": self.judge.calls}
        if not body.get("stream"):
            return self._send(200, dumps(made | self.judge.beside).encode())
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for chunk in chunks(made, with_usage=True):
            self.wfile.write(b"data: %b\n\n" % dumps(chunk | self.judge.beside).encode())
        self.wfile.write(b"data: [DONE]\n\n")
        return None

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def judging() -> Iterator[Judge]:
    """The models on loopback."""
    judge = Judge()
    with handled(type("Handler", (_Handler,), {"judge": judge})) as url:
        judge.url = url
        yield judge
