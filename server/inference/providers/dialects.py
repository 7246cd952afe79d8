"""Dialects of OpenAI's API: what each type of provider refuses, renames and adds.

A row here and a scripted exchange in `tests/exchanges/` make a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from server.inference.file_parts import AUDIO, FILE
from server.inference.provider import Task

STORING: Final = frozenset({"store", "metadata"})
"""Members that ask OpenAI to keep an answer."""

_CHATS_ALONE: Final = frozenset({Task.TEXT, Task.EMBEDDING})
_NO_TEXTS: Final = frozenset({Task.TEXT})

_NO_FILES: Final = frozenset({FILE})
"""Parts of messages that vendors' references of chat completions don't list, or that servers refuse."""

_TO_MAX_TOKENS: Final = {"max_completion_tokens": "max_tokens"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect.

    `base_url` is that of the service, empty where each customer has another. `refused` are members that the provider
    answers with an error, and that are cut out; `renamed` leads from OpenAI's names to the provider's. The key is sent
    in `key_header`, behind `key_prefix`. `version_path` is put behind a base URL that doesn't end with it. A provider
    that `lists_models` is well if it answers for its models; another one if it answers at all. It has no path for the
    tasks that it `lacks`, and completes one prompt in a request if `one_prompt`. It drops or refuses the parts of
    messages whose types are `lacking_parts`. Members of its answers that clients have no use for are `dropped`.
    Models are given back their earlier reasoning in the member `thoughts` of their messages; empty where the provider
    refuses or ignores it.
    """

    base_url: str = ""
    refused: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    version_path: str = ""
    lists_models: bool = True
    lacks: frozenset[Task] = frozenset()
    one_prompt: bool = False
    lacking_parts: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    thoughts: str = ""

    @property
    def tasks(self) -> frozenset[Task]:
        """The tasks that the provider is asked for."""
        return frozenset(Task) - self.lacks

    def url_of(self, configured: str | None) -> str:
        """Return the base URL of requests for the one of the configuration."""
        url = configured or self.base_url
        return url if url.endswith(self.version_path) else f"{url}{self.version_path}"


OPENAI: Final = Dialect("https://api.openai.com/v1")

DIALECTS: Final[Mapping[str, Dialect]] = {
    "remote::openai": OPENAI,
    "remote::passthrough": Dialect(lists_models=False),
    # They are given by the address of the server, and speak OpenAI's API under `/v1`.
    "remote::vllm": Dialect(version_path="/v1", lacking_parts=_NO_FILES, thoughts="reasoning"),
    "remote::ollama": Dialect(version_path="/v1", one_prompt=True, lacking_parts=_NO_FILES, thoughts="reasoning"),
    "remote::azure": Dialect(key_header="api-key", key_prefix=""),
    "remote::anthropic": Dialect(
        "https://api.anthropic.com/v1",
        STORING | {"logit_bias", "logprobs", "top_logprobs", "prediction"},
        lists_models=False,
        lacks=_CHATS_ALONE,
        # Both are ignored: the model would answer as if nothing had been sent.
        lacking_parts=frozenset({FILE, AUDIO}),
    ),
    "remote::cerebras": Dialect(
        "https://api.cerebras.ai/v1",
        STORING | {"frequency_penalty", "presence_penalty", "logit_bias"},
        lacks=frozenset({Task.EMBEDDING}),
        lacking_parts=_NO_FILES,
    ),
    "remote::databricks": Dialect(
        "",
        STORING | {"user", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"},
        _TO_MAX_TOKENS,
        lists_models=False,
        lacking_parts=_NO_FILES,
    ),
    "remote::deepseek": Dialect(
        "https://api.deepseek.com",
        STORING,
        _TO_MAX_TOKENS,
        lacks=_CHATS_ALONE,
        lacking_parts=_NO_FILES,
        # Behind calls of tools it refuses a chat without it.
        thoughts="reasoning_content",
    ),
    "remote::fireworks": Dialect(
        "https://api.fireworks.ai/inference/v1",
        STORING,
        _TO_MAX_TOKENS,
        lacking_parts=_NO_FILES,
        thoughts="reasoning_content",
    ),
    "remote::gemini": Dialect(
        "https://generativelanguage.googleapis.com/v1beta/openai",
        STORING | {"logit_bias", "user", "safety_identifier", "prompt_cache_key"},
        lacks=_NO_TEXTS,
        lacking_parts=_NO_FILES,
    ),
    "remote::groq": Dialect(
        "https://api.groq.com/openai/v1",
        STORING | {"logit_bias", "logprobs", "top_logprobs"},
        lacks=_CHATS_ALONE,
        lacking_parts=_NO_FILES,
    ),
    "remote::llama-openai-compat": Dialect(
        "https://api.llama.com/compat/v1", STORING, lacks=_CHATS_ALONE, lacking_parts=_NO_FILES
    ),
    "remote::mistral": Dialect(
        "https://api.mistral.ai/v1",
        STORING | {"logit_bias", "logprobs", "top_logprobs", "stream_options", "user", "safety_identifier"},
        {**_TO_MAX_TOKENS, "seed": "random_seed"},
        lacks=_NO_TEXTS,
        lacking_parts=_NO_FILES,
    ),
    "remote::nvidia": Dialect(
        "https://integrate.api.nvidia.com/v1",
        STORING | {"parallel_tool_calls", "user", "safety_identifier", "prompt_cache_key"},
        _TO_MAX_TOKENS,
        lacking_parts=_NO_FILES,
    ),
    "remote::openrouter": Dialect("https://openrouter.ai/api/v1", STORING, thoughts="reasoning"),
    "remote::sambanova": Dialect(
        "https://api.sambanova.ai/v1",
        STORING | {"logit_bias", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty", "user"},
        _TO_MAX_TOKENS,
        lacks=_NO_TEXTS,
        lacking_parts=_NO_FILES,
    ),
    "remote::together": Dialect("https://api.together.xyz/v1", STORING, _TO_MAX_TOKENS, lacking_parts=_NO_FILES),
}
"""The dialect of each type of provider that is reached in this way."""
