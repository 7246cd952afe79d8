"""A stand-in for Bedrock that refuses what Bedrock refuses: wrong signatures, shapes, blanks, ids and turns.

Shapes are judged by botocore's own model of the service, signatures are computed again by botocore.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from json import dumps, loads
from struct import pack
from typing import Any
from urllib.parse import unquote
from zlib import crc32

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.validate import ParamValidator

from tests.support.bedrock_embeddings import Told, embedded
from tests.support.http_server import handled

REGION, BEARER = "eu-west-1", "bedrock-bearer-canary"
IDENTITY, SECRET, TOKEN = "AKIDEXAMPLE", "secret-canary", "session-canary"

_SERVICE = botocore.session.Session().get_service_model("bedrock-runtime")
_SHAPES = {
    "converse": _SERVICE.operation_model("Converse").input_shape,
    "converse-stream": _SERVICE.operation_model("ConverseStream").input_shape,
}
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_BLOBS = ("image", "document")

Event = tuple[str, dict[str, Any]]

TEXT: list[Event] = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hel"}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "lo"}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, "metrics": {"latencyMs": 1}}),
]
WHOLE: dict[str, Any] = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
    "metrics": {"latencyMs": 1},
}
OPENAI = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "from openai"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


def frame(payload: bytes, **headers: str) -> bytes:
    """One frame of an event stream; `_` in a header's name is written `-`."""
    texts = b"".join(
        pack(">B", len(name) + 1) + b":" + name.replace("_", "-").encode() + pack(">BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    head = pack(">II", 16 + len(texts) + len(payload), len(texts))
    head += pack(">I", crc32(head))
    return head + texts + payload + pack(">I", crc32(head + texts + payload))


def told(kind: str, event: Any) -> bytes:
    """The frame of an event, or of an exception by the name of its kind."""
    payload = dumps(event).encode()
    if kind.endswith("Exception"):
        return frame(payload, message_type="exception", exception_type=kind, content_type="application/json")
    return frame(payload, message_type="event", event_type=kind, content_type="application/json")


@dataclass
class Stub:
    """The running stub: its answers, which may be changed, and what was asked."""

    url: str = ""
    whole: dict[str, Any] = field(default_factory=lambda: dict(WHOLE))
    events: list[Event] = field(default_factory=lambda: list(TEXT))
    tail: bytes = b""
    """Bytes behind the events."""
    refusal: tuple[int, str, str] | None = None
    """The status, the type and the message of an error in the place of an answer."""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """The path and the body of each accepted request."""
    headers: list[dict[str, str]] = field(default_factory=list)
    """The headers of every request."""
    has_error_header: bool = True
    """Whether the type of an error stands in a header; else the body has it."""
    identity: str = IDENTITY
    vectors: Told = field(default_factory=Told)
    """The answers with embeddings."""
    verdict: dict[str, Any] | bytes | None = None
    """The answer of the guardrail, in place of one that blocks a bomb and masks an address."""

    sees_images: bool = True
    """Whether the guardrail looks at images."""

    def applied(self, body: dict[str, Any]) -> bytes:
        """The answer of ApplyGuardrail, whose request has the shape that botocore knows."""
        pictures = [b64decode(block["image"]["source"]["bytes"]) for block in body["content"] if "image" in block]
        if pictures:
            return self._looked(body, pictures)
        named = {"guardrailIdentifier": "g", "guardrailVersion": "1", **body}
        report = ParamValidator().validate(named, _SERVICE.operation_model("ApplyGuardrail").input_shape)
        assert not report.has_errors(), report.generate_report()
        if isinstance(self.verdict, bytes):
            return self.verdict
        return dumps(self.verdict or guardrail_says([block["text"]["text"] for block in body["content"]])).encode()

    def _looked(self, body: dict[str, Any], pictures: list[bytes]) -> bytes:
        """The answer about images, of which one with the word `bomb` in its bytes is blocked."""
        blocks = [
            {**block["image"], "source": {"bytes": seen}} for block, seen in zip(body["content"], pictures, strict=True)
        ]
        named = {
            "guardrailIdentifier": "g",
            "guardrailVersion": "1",
            **body,
            "content": [{"image": each} for each in blocks],
        }
        report = ParamValidator().validate(named, _SERVICE.operation_model("ApplyGuardrail").input_shape)
        assert not report.has_errors(), report.generate_report()
        count = len(pictures) if self.sees_images else 0
        told = guardrail_says(["bomb" if self.sees_images and b"bomb" in seen else "" for seen in pictures])
        return dumps({**told, "guardrailCoverage": {"images": {"guarded": count, "total": len(pictures)}}}).encode()

    def renew(self) -> None:
        """Forget what was asked, and answer as at the beginning."""
        for name, value in vars(Stub(self.url)).items():
            setattr(self, name, value)

    @property
    def body(self) -> dict[str, Any]:
        """The body of the last request."""
        return self.asked[-1][1]


def guardrail_says(texts: list[str]) -> dict[str, Any]:
    """What a guardrail answers that blocks the word `bomb` and masks the address `ann@example.org`."""
    assessment: dict[str, Any] = {"invocationMetrics": {"guardrailProcessingLatency": 1}}
    if any("bomb" in text for text in texts):
        found = {"type": "VIOLENCE", "confidence": "MEDIUM", "filterStrength": "HIGH", "action": "BLOCKED"}
        assessment["contentPolicy"] = {"filters": [found]}
    if any("ann@example.org" in text for text in texts):
        entity = {"match": "ann@example.org", "type": "EMAIL", "action": "ANONYMIZED"}
        assessment["sensitiveInformationPolicy"] = {"piiEntities": [entity], "regexes": []}
    if len(assessment) == 1:
        return {"action": "NONE", "outputs": [], "assessments": [assessment], "usage": {}}
    blocked = "contentPolicy" in assessment
    outputs = ["no"] if blocked else [text.replace("ann@example.org", "{EMAIL}") for text in texts]
    made = [{"text": text} for text in outputs]
    return {"action": "GUARDRAIL_INTERVENED", "outputs": made, "assessments": [assessment], "usage": {}}


class _Handler(BaseHTTPRequestHandler):
    stub: Stub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._send(403, b"{}", "application/json")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.stub.headers.append({name.lower(): value for name, value in self.headers.items()})
        wrong = self._unproven(body)
        if wrong:
            return self._refuse(403, "UnrecognizedClientException", wrong)
        document = loads(body)
        is_converse = self.path.endswith(("/converse", "/converse-stream"))
        wrong = next(faults(document, self.path.rpartition("/")[2]), None) if is_converse else None
        if wrong:
            return self._refuse(400, "ValidationException", wrong)
        self.stub.asked.append((self.path, document))
        if self.stub.refusal is not None:
            return self._refuse(*self.stub.refusal)
        if self.path.endswith("/apply"):
            return self._send(200, self.stub.applied(document), "application/json")
        if self.path.endswith("/invoke"):
            return self._invoke(document)
        if not is_converse:
            return self._send(200, dumps(OPENAI).encode(), "application/json")
        if self.path.endswith("/converse-stream"):
            frames = b"".join(told(*event) for event in self.stub.events) + self.stub.tail
            return self._send(200, frames, "application/vnd.amazon.eventstream")
        return self._send(200, dumps(self.stub.whole).encode(), "application/json")

    def _invoke(self, document: dict[str, Any]) -> None:
        body, tokens, wrong = embedded(model_of(self.path), document, self.stub.vectors)
        if wrong:
            return self._refuse(400, "ValidationException", wrong)
        return self._send(200, body, "application/json", tokens=tokens)

    def _unproven(self, body: bytes) -> str:
        proof = self.headers["Authorization"] or ""
        if proof == f"Bearer {BEARER}":
            return ""
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=(\w+)/\d{8}/([a-z0-9-]+)/bedrock/aws4_request, "
            r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
            proof,
        )
        if found is None or found[1] != self.stub.identity:
            return "the security token is invalid"
        signed = {name: self.headers[name] for name in found[3].split(";")}
        if signed.get("x-amz-content-sha256", digest := sha256(body).hexdigest()) != digest:
            return "the digest is that of another body"
        request = AWSRequest("POST", f"{self.stub.url}{self.path}", signed, body)
        request.context["timestamp"] = signed["x-amz-date"]
        auth = SigV4Auth(Credentials(found[1], SECRET), "bedrock", found[2])
        text = auth.string_to_sign(request, auth.canonical_request(request))
        return "" if auth.signature(text, request) == found[4] else "the signature does not match"

    def _refuse(self, status: int, kind: str, message: str) -> None:
        told = {"message": message} if self.stub.has_error_header else {"message": message, "__type": f"a.b#{kind}"}
        self._send(status, dumps(told).encode(), "application/json", kind if self.stub.has_error_header else "")

    def _send(self, status: int, body: bytes, kind: str, error: str = "", tokens: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if tokens is not None:
            self.send_header("X-Amzn-Bedrock-Input-Token-Count", str(tokens))
        if error:
            self.send_header("x-amzn-errortype", f"{error}:http://internal.amazon.com/")
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def bedrock() -> Iterator[Stub]:
    """The stub on loopback."""
    stub = Stub()

    with handled(type("Handler", (_Handler,), {"stub": stub})) as url:
        stub.url = url
        yield stub


def faults(body: dict[str, Any], action: str) -> Iterator[str]:
    """What Bedrock would refuse about a request for one of its actions."""
    report = ParamValidator().validate({"modelId": "m", **_with_bytes(body)}, _SHAPES[action])
    if report.has_errors():
        yield report.generate_report()
    calls: list[str] = []
    ids: set[str] = set()
    role = "assistant"
    for turn in body["messages"]:
        if turn["role"] == role:
            yield "roles must alternate between user and assistant"
        role = turn["role"]
        results = [block["toolResult"]["toolUseId"] for block in turn["content"] if "toolResult" in block]
        if results != calls:
            yield "each toolUse must have its toolResult in the next turn"
        calls = [block["toolUse"]["toolUseId"] for block in turn["content"] if "toolUse" in block]
        if len(calls) != len({*calls}) or ids & {*calls}:
            yield "toolUse ids must be unique"
        ids |= {*calls}
        if not all(map(_ID.fullmatch, calls)):
            yield "toolUseId must match [a-zA-Z0-9_-]{1,64}"
        if not turn["content"]:
            yield "a turn is empty"
    if ids and not body.get("toolConfig"):
        yield "toolConfig must be defined when using toolUse and toolResult content blocks"
    if any(not text.strip() for text in _texts(body)):
        yield "text content blocks must contain non-whitespace text"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"]
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _with_bytes(value: Any) -> Any:
    """The value with the bytes of images and documents, as botocore's callers write them."""
    if isinstance(value, list):
        return [_with_bytes(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        name: {**inner, "source": {"bytes": b64decode(inner["source"]["bytes"], validate=True)}}
        if name in _BLOBS and isinstance(inner, dict) and "source" in inner
        else _with_bytes(inner)
        for name, inner in value.items()
    }


def model_of(path: str) -> str:
    """The model in the path of a request."""
    return unquote(path.split("/")[2])
