"""Requests to a Llama Guard: messages, which its engine's template puts into a prompt, or the whole prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.config.llama_guard import VERSIONS
from server.safety.shield import Said

MOST_TOKENS: Final = 32
"""Tokens of a verdict."""

LIKELY: Final = 5
"""Tokens in the place of each whose probabilities are asked for."""

# Engines put the token that begins a text in front of prompts themselves.
_FRAMES: Final = {
    "llama-guard-1": ("[INST] ", " [/INST]"),
    "llama-guard-4": (
        "<|header_start|>user<|header_end|>\n\n",
        "<|eot|><|header_start|>assistant<|header_end|>\n\n",
    ),
}
_FRAME: Final = (
    "<|start_header_id|>user<|end_header_id|>\n\n",
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
)


def messages(conversation: Sequence[Said], taxonomy: str) -> list[dict[str, Any]]:
    """Return a conversation as the messages that the template of a version takes."""
    in_parts = VERSIONS[taxonomy].in_parts
    return [
        {
            "role": "assistant" if turn.by_model else "user",
            "content": [{"type": "text", "text": turn.text}] if in_parts else turn.text,
        }
        for turn in conversation
    ]


def prompt(conversation: Sequence[Said], taxonomy: str) -> str:
    """Return the whole prompt of a version, for an engine that has no template for it."""
    judged = _speaker(conversation[-1])
    categories = "\n".join(f"{code}: {name}." for code, name in VERSIONS[taxonomy].categories.items())
    spoken = "\n\n".join(f"{_speaker(turn)}: {turn.text}" for turn in conversation)
    begin, end = _FRAMES.get(taxonomy, _FRAME)
    return (
        f"{begin}Task: Check if there is unsafe content in '{judged}' messages in conversations according our safety "
        "policy with the below categories.\n\n"
        f"<BEGIN UNSAFE CONTENT CATEGORIES>\n{categories}\n<END UNSAFE CONTENT CATEGORIES>\n\n"
        f"<BEGIN CONVERSATION>\n\n{spoken}\n\n<END CONVERSATION>\n\n"
        f"Provide your safety assessment for ONLY THE LAST {judged} message in the above conversation:\n"
        " - First line must read 'safe' or 'unsafe'.\n"
        f" - If unsafe, a second line must include a comma-separated list of violated categories.{end}"
    )


def _speaker(turn: Said) -> str:
    return "Agent" if turn.by_model else "User"
