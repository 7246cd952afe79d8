"""Deliberate mistakes in what clients are given sealed, and in the counting of inputs."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

COUNTING = "server/api/models/asking.py"
COMPACTING = "server/api/responses/compaction/compacting.py"
TRUNCATION = "server/api/responses/truncation.py"
UNSEALING = "server/api/responses/unsealing.py"
SEALS = "server/authn/seals.py"
TURN = "server/api/responses/turn.py"

SEALED_MISTAKES = (
    Mistake(
        "what a compaction has cost is not told",
        "server/api/responses/making.py",
        "usage=short.usage, earlier=short.usage",
        "usage=short.usage",
    ),
    Mistake("a short context is summed up", COMPACTING, "items) <= body.compact_at:", "items) <= 0:"),
    Mistake("developers are summed up", UNSEALING, '"role") in ("developer", "system")', '"role") in ()'),
    Mistake(
        "what waits for an answer is summed up",
        COMPACTING,
        "kept = min(await _beside(kept_of, items), since",
        "kept = min(0, since",
    ),
    Mistake(
        "calls are summed up without their outputs", COMPACTING, "            waiting.add(call)\n", "            pass\n"
    ),
    Mistake("an older compaction stands, too", UNSEALING, "                break\n", "                pass\n"),
    Mistake(
        "an earlier summary stays to the letter", COMPACTING, ", since_compaction(opening.context))", ", len(items))"
    ),
    Mistake("one summary is summed up again", COMPACTING, "_LEAST: Final = 2", "_LEAST: Final = 1"),
    Mistake(
        "a compaction passes by what a response is paid by",
        COMPACTING,
        "summary_of(through(asked.answering), asked.request)",
        "summary_of(asked.answering, asked.request)",
    ),
    Mistake(
        "an output stays without its call",
        TRUNCATION,
        "            if is_output and call not in calls:",
        "            if False:",
    ),
    Mistake("a seal opens for any use", SEALS, "for part in use)) if use", "for part in use[:0])) if use"),
    Mistake("reasoning of one model is another's", UNSEALING, '("reasoning", self.model)', '("reasoning", "")'),
    Mistake("reasoning is sealed for any model", UNSEALING, '), ("reasoning", model)', '), ("reasoning", "")'),
    Mistake(
        "reasoning goes to every provider", TURN, "_thought(item)) if thoughts else", "_thought(item)) if item else"
    ),
    Mistake("a model's reasoning belongs to the next user", TURN, '        thought = ""\n    _say', "    _say"),
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
    Mistake("what is too large to be ours is opened", UNSEALING, "if len(item) <= LARGEST_ITEM else", "if item else"),
    Mistake("all of a long thought is sealed", UNSEALING, '"replace")[:MOST_SEALED]', '"replace")[:]'),
    Mistake("counting asks to fill a conversation", "server/api/responses/input_tokens.py", ", fills=False)", ")"),
    Mistake("a provider that counts is not asked to", COUNTING, "if counter is not None:", "if counter is None:"),
    Mistake(
        "files are left out of an estimate",
        COUNTING,
        "asked.body.cost.least + asked.attached_tokens",
        "asked.body.cost.least",
    ),
    Mistake(
        "keys that were replaced open nothing",
        "server/wiring/application.py",
        "for key in config.server.seal_keys]",
        "for key in config.server.seal_keys[:1]]",
    ),
)
