"""The server in front of the stand-in for Bedrock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from json import loads
from pathlib import Path
from typing import Any

from tests.support.bedrock_stub import BEARER, IDENTITY, REGION, SECRET, TOKEN, Stub, bedrock
from tests.support.real_policy import read
from tests.support.relay_server import CHATS, configuration, serving_config
from tests.support.serving import Address, Answer

TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-multilingual-v3"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"
CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
BY_KEY = f"api_key: {BEARER}"
BY_SIGNATURE = f"aws_access_key_id: {IDENTITY}, aws_secret_access_key: {SECRET}, aws_session_token: {TOKEN}"
MODELS = f"""
    - {{model_id: claude, provider_id: p, provider_model_id: "{CLAUDE}"}}
    - {{model_id: gpt, provider_id: p, provider_model_id: "us.openai.gpt-oss-120b-1:0"}}
    - {{model_id: titan, provider_id: p, provider_model_id: "{TITAN}", model_type: embedding}}
    - {{model_id: titan1, provider_id: p, provider_model_id: "amazon.titan-embed-text-v1", model_type: embedding}}
    - {{model_id: picture, provider_id: p, provider_model_id: "amazon.titan-embed-image-v1", model_type: embedding}}
    - {{model_id: cohere, provider_id: p, provider_model_id: "{COHERE}", model_type: embedding}}
    - {{model_id: cohere4, provider_id: p, provider_model_id: "us.cohere.embed-v4:0", model_type: embedding}}
    - {{model_id: nova, provider_id: p, provider_model_id: "{NOVA}", model_type: embedding}}
    - {{model_id: nova2, provider_id: p, provider_model_id: "us.{NOVA}", model_type: embedding}}
    - {{model_id: unknown, provider_id: p, provider_model_id: "amazon.nova-2-embed", model_type: embedding}}
"""


class Chatting:
    """The server in front of a stub."""

    def __init__(self, address: Address, stub: Stub) -> None:
        self.address, self.stub = address, stub

    def chat(self, *messages: dict[str, Any], model: str = "p/claude", **more: Any) -> Answer:
        """The answer to a chat."""
        asked = messages or ({"role": "user", "content": "hi"},)
        return self.address.post(CHATS, {"model": model, "messages": asked, **more}, "Authorization: Bearer alice")

    def post(self, path: str, **body: Any) -> Answer:
        """The answer to another request."""
        return self.address.post(path, body, "Authorization: Bearer alice")

    def chunks(self, *messages: dict[str, Any], **more: Any) -> list[Any]:
        """The chunks of a streamed chat, without its end."""
        answer = self.chat(*messages, stream=True, stream_options={"include_usage": True}, **more)
        assert answer.status == 200
        assert answer.body.endswith(b"data: [DONE]\n\n")
        return [loads(text.removeprefix(b"data: ")) for text in answer.body.split(b"\n\n")[:-2]]


@contextmanager
def chatting(folder: Path, settings: str = BY_KEY, environ: dict[str, str] | None = None) -> Iterator[Chatting]:
    with bedrock() as stub:
        # The failures of many tests in a row are not to pause the stub.
        more = "" if "breaker" in settings else ", breaker: {failures: 1000}"
        config = (
            f"{{provider_id: p, provider_type: remote::bedrock, config: {{endpoint: '{stub.url}', {settings}{more}}}}}"
        )
        text = configuration(folder, config, MODELS)
        with serving_config(read(text, {"AWS_REGION": REGION, **(environ or {})})) as (address, _telemetry):
            yield Chatting(address, stub)
