"""Dialects of OpenAI's API: what each type of provider refuses, renames and adds.

A row here and a scripted exchange in `tests/exchanges/` make a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

STORING: Final = frozenset({"store", "metadata"})
"""Members that ask OpenAI to keep an answer."""

_TO_MAX_TOKENS: Final = {"max_completion_tokens": "max_tokens"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect.

    `refused` are members that the provider answers with an error, and that are cut out; `renamed` leads from OpenAI's
    names to the provider's. The key is sent in `key_header`, behind `key_prefix`; `headers` are sent with each request.
    `version_path` is put behind a base URL that doesn't end with it.
    """

    refused: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    headers: Mapping[str, str] = field(default_factory=dict)
    version_path: str = ""


OPENAI: Final = Dialect()

DIALECTS: Final[Mapping[str, Dialect]] = {
    "remote::openai": OPENAI,
    "remote::passthrough": OPENAI,
    "remote::llama-openai-compat": Dialect(STORING),
    # They are given by the address of the server, and speak OpenAI's API under `/v1`.
    "remote::vllm": Dialect(version_path="/v1"),
    "remote::ollama": Dialect(version_path="/v1"),
    "remote::azure": Dialect(key_header="api-key", key_prefix=""),
    "remote::gemini": Dialect(STORING | {"logit_bias", "parallel_tool_calls", "seed", "user", "safety_identifier"}),
    "remote::anthropic": Dialect(STORING | {"logit_bias", "logprobs", "top_logprobs", "seed", "prediction"}),
    "remote::groq": Dialect(STORING | {"logit_bias", "logprobs", "top_logprobs", "prompt_cache_key"}),
    "remote::mistral": Dialect(
        STORING | {"logit_bias", "logprobs", "top_logprobs", "stream_options", "user", "safety_identifier"},
        {**_TO_MAX_TOKENS, "seed": "random_seed"},
    ),
    "remote::cerebras": Dialect(STORING | {"frequency_penalty", "presence_penalty", "logit_bias"}),
    "remote::openrouter": Dialect(STORING),
    "remote::databricks": Dialect(
        STORING | {"user", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"}, _TO_MAX_TOKENS
    ),
    "remote::together": Dialect(STORING | {"parallel_tool_calls"}, _TO_MAX_TOKENS),
    "remote::fireworks": Dialect(STORING, _TO_MAX_TOKENS),
    "remote::deepseek": Dialect(STORING | {"user", "safety_identifier", "logit_bias", "n", "seed"}, _TO_MAX_TOKENS),
    "remote::sambanova": Dialect(
        STORING | {"logit_bias", "logprobs", "top_logprobs", "n", "frequency_penalty", "presence_penalty", "user"},
        _TO_MAX_TOKENS,
    ),
    "remote::nvidia": Dialect(
        STORING | {"parallel_tool_calls", "user", "safety_identifier", "prompt_cache_key"}, _TO_MAX_TOKENS
    ),
}
"""The dialect of each type of provider that is reached in this way."""
