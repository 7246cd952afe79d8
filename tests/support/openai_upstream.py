"""A model behind OpenAI's API that does what clients of agents wait for: calls of tools, and answers by a schema.

- After the result of a tool it says what that was.
- It calls a tool that it must call, and the first one where the user speaks of the weather.
- Where a form is wanted, its answer has that form. Otherwise it repeats what the user says.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from json import dumps, loads
from typing import Any

from tests.support.http_server import handled

USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
_SAMPLES: dict[str, Any] = {"string": "Berlin", "integer": 21, "number": 21.5, "boolean": True, "null": None}


@contextmanager
def openai_upstream() -> Iterator[str]:
    """The model on loopback; yields its base URL."""
    with handled(_Handler) as url:
        yield f"{url}/v1"


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/embeddings":
            return self._send(embeddings(body))
        made = completion(body) if self.path == "/v1/completions" else chat(body)
        if not body.get("stream"):
            return self._send(made)
        return self._stream(made, with_usage=(body.get("stream_options") or {}).get("include_usage") is True)

    def _send(self, document: Any) -> None:
        text = dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _stream(self, made: dict[str, Any], *, with_usage: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for chunk in chunks(made, with_usage=with_usage):
            self.wfile.write(b"data: %b\n\n" % dumps(chunk).encode())
        self.wfile.write(b"data: [DONE]\n\n")


def chat(body: dict[str, Any]) -> dict[str, Any]:
    """A chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    calls = _calls(body)
    if calls:
        message["tool_calls"] = calls
    else:
        message["content"] = _content(body)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if calls else "stop"}
    return {**_head("chat.completion"), "choices": [choice], "usage": USAGE}


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """A completion of each text."""
    prompts = [body["prompt"]] if isinstance(body["prompt"], str) else body["prompt"]
    choices = [
        {"index": index, "text": f"{prompt} and more", "logprobs": None, "finish_reason": "stop"}
        for index, prompt in enumerate(prompts)
    ]
    return {**_head("text_completion"), "choices": choices, "usage": USAGE}


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """Embeddings whose first number is the length of the text, or of the token ids."""
    given = body["input"]
    inputs = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    size = body.get("dimensions") or 8
    vectors = [[float(len(each)), *[0.5] * (size - 1)] for each in inputs]
    packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": place, "embedding": _packed(vector) if packed else vector}
        for place, vector in enumerate(vectors)
    ]
    return {"object": "list", "model": body["model"], "data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}


def chunks(made: dict[str, Any], *, with_usage: bool) -> Iterator[dict[str, Any]]:
    """The same answer in pieces."""
    [choice] = made["choices"]
    kind = made["object"] if "text" in choice else "chat.completion.chunk"
    head = {**{name: value for name, value in made.items() if name not in ("choices", "usage")}, "object": kind}
    for part in _text_parts(choice) if "text" in choice else _deltas(choice):
        yield {**head, "choices": [{"index": 0, "finish_reason": None, **part}]}
    if with_usage:
        yield {**head, "choices": [], "usage": made["usage"]}


def _text_parts(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for word in choice["text"].split(" "):
        yield {"text": f"{word} "}
    yield {"text": "", "finish_reason": "stop"}


def _deltas(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    message = choice["message"]
    yield {"delta": {"role": "assistant", "content": "" if message["content"] else None}}
    for letter in message["content"] or "":
        yield {"delta": {"content": letter}}
    for index, call in enumerate(message.get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        yield {"delta": {"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": ""}}]}}
        for start in range(0, len(arguments), 5):
            piece = {"index": index, "function": {"arguments": arguments[start : start + 5]}}
            yield {"delta": {"tool_calls": [piece]}}
    yield {"delta": {}, "finish_reason": choice["finish_reason"]}


def _calls(body: dict[str, Any]) -> list[dict[str, Any]]:
    tools = [tool["function"] for tool in body.get("tools") or ()]
    choice, last = body.get("tool_choice"), body["messages"][-1]
    if isinstance(choice, dict):
        tools = [tool for tool in tools if tool["name"] == choice["function"]["name"]]
    elif choice == "none" or last["role"] == "tool" or (choice != "required" and "weather" not in _text(last)):
        tools = []
    return [
        {"id": "call_far_1", "type": "function", "function": {"name": tool["name"], "arguments": dumps(_of(tool))}}
        for tool in tools[:1]
    ]


def _of(tool: dict[str, Any]) -> Any:
    schema = tool.get("parameters") or {"type": "object"}
    return sample(schema, schema)


def sample(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """A value that a schema permits."""
    if "$ref" in schema:
        found = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return sample(found, root)
    if "enum" in schema or "const" in schema:
        return schema.get("const", *schema.get("enum", [None])[:1])
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], root)
    if schema.get("type") == "array":
        return [sample(schema.get("items", {"type": "string"}), root)]
    if schema.get("type") == "object" or "properties" in schema:
        return {name: sample(inner, root) for name, inner in schema.get("properties", {}).items()}
    return _SAMPLES[schema.get("type", "string")]


def _content(body: dict[str, Any]) -> str:
    form, last = body.get("response_format") or {}, body["messages"][-1]
    if form.get("type") == "json_schema":
        schema = form["json_schema"]["schema"]
        return dumps(sample(schema, schema))
    if form.get("type") == "json_object":
        return dumps({"city": "Berlin", "degrees": 21})
    return f"the tool says: {_text(last)}" if last["role"] == "tool" else f"you say: {_text(last)}"


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def _head(kind: str) -> dict[str, Any]:
    return {"id": "far-1", "object": kind, "created": 1_700_000_000, "model": "far-gpt"}


def _packed(vector: list[float]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
