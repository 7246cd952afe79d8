"""Deliberate mistakes in what clients are given sealed, and in the counting of inputs."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

COUNTING = "server/api/models/asking.py"

UNSEALING = "server/api/responses/unsealing.py"
SEALS = "server/authn/seals.py"
TURN = "server/api/responses/turn.py"

SEALED_MISTAKES = (
    Mistake("a seal opens for any use", SEALS, "for part in use)) if use", "for part in use[:0])) if use"),
    Mistake("reasoning of one model is another's", UNSEALING, '("reasoning", self.model)', '("reasoning", "")'),
    Mistake("reasoning is sealed for any model", UNSEALING, '), ("reasoning", model)', '), ("reasoning", "")'),
    Mistake(
        "reasoning goes to every provider", TURN, "_thought(item)) if thoughts else", "_thought(item)) if item else"
    ),
    Mistake("a model's reasoning belongs to the next user", TURN, '        thought = ""\n    if not', "    if not"),
    Mistake(
        "models that others stand in for get their reasoning",
        COUNTING,
        'if model.names_others:\n            return ""',
        'if model.names_others and not model:\n            return ""',
    ),
    Mistake(
        "what is left out for a provider is not opened",
        UNSEALING,
        "text = self._text(sealed, place, (",
        'text = "" if self.model == "far/thinks" else self._text(sealed, place, (',
    ),
    Mistake("all of a long thought is sealed", UNSEALING, '"replace")[:MOST_SEALED]', '"replace")[:]'),
    Mistake("counting asks to fill a conversation", "server/api/responses/input_tokens.py", ", fills=False)", ")"),
    Mistake("a provider that counts is not asked to", COUNTING, "if counter is not None:", "if counter is None:"),
    Mistake(
        "files are left out of an estimate",
        COUNTING,
        "asked.body.cost.least + asked.attached_tokens",
        "asked.body.cost.least",
    ),
)
