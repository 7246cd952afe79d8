"""Deliberate mistakes in what clients are given sealed, and in the counting of inputs."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

COUNTING = "server/api/models/asking.py"

SEALED_MISTAKES = (
    Mistake("counting asks to fill a conversation", "server/api/responses/input_tokens.py", ", fills=False)", ")"),
    Mistake("a provider that counts is not asked to", COUNTING, "if counter is not None:", "if counter is None:"),
    Mistake(
        "files are left out of an estimate",
        COUNTING,
        "asked.body.cost.least + asked.attached_tokens",
        "asked.body.cost.least",
    ),
)
