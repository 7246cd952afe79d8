"""Recognition of a prompt that is too long, which each provider says in its own words."""

from __future__ import annotations

import re
from typing import Final

_TELLS: Final = re.compile(
    "|".join(
        (
            # OpenAI, Azure, DeepSeek, OpenRouter, vLLM, Fireworks, Mistral, SambaNova, SGLang, Ollama
            r"max(?:imum)? context (?:length|limit|window)",
            r"context[_ ]length[_ ]exceeded",
            r"(?:exceed\w*|over\w*|beyond|larger than|longer than|too \w+ for) (?:[\w'`]+ ){0,6}context(?:[_ ]| )?"
            r"(?:length|limit|size|window)?",
            r"context (?:length|limit|size|window) (?:of only|is only|exceed\w*)",
            r"model'?s? context (?:length|limit|window) is",
            r"ContextWindowExceeded",
            r"exceed_context_size",
            # vLLM
            r"longer than the max(?:imum)? model length",
            r"exceeds? (?:the )?max(?:imum)?(?:_| )model(?:_| )len",
            # Anthropic, Bedrock, Fireworks, Z.ai, xAI
            r"(?:prompt|input|request) (?:is )?too long",
            r"prompt exceeds max(?:imum)? length",
            r"maximum prompt length is",
            # Titan, Cohere and Nova for embeddings
            r"too many input tokens",
            r"(?:inputText|texts/\d+|text/value): expected maxLength",
            # Gemini, Databricks, Cohere
            r"token count (?:\(\d+\) )?(?:exceeds|cannot exceed)",
            r"number of tokens in the prompt cannot exceed",
            r"exceeds? the maximum number of (?:input )?tokens",
            r"exceeded model token limit",
            # Groq, Cerebras
            r"reduce the length of (?:the|your) (?:messages|prompt|input)",
            # Together and text-generation-inference
            r"`?inputs`? tokens \+ `?max_new_tokens`? must be",
            r"`?inputs`? must have less than \d+ tokens",
            # NVIDIA, SambaNova
            r"(?:input|prompt) length (?:\(?\d+\)? )?exceeds (?:the )?maximum",
            r"maximum supported sequence length",
        )
    ),
    re.IGNORECASE,
)

_LONGEST: Final = 4096
"""Characters of a message that are looked at."""


def tells_of_overflow(message: str) -> bool:
    """Return whether a provider's message says that the prompt doesn't fit into the model's context."""
    return _TELLS.search(message[:_LONGEST]) is not None
