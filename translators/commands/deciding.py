"""Decisions in bulk: JSON lines of questions in, JSON lines of decisions out, from one real OPA."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO

from translators.commands.loading import Loaded
from translators.commands.questions import Known, Question, UnclearQuestion, question
from translators.opa_session import OpaSession

_BATCH = 200


def decide_lines(loaded: Loaded, source: BinaryIO, target: TextIO) -> None:
    """Answer each line of `source` with one line of `target`, in the same order.

    A malformed line is answered with `{"id", "error"}` and doesn't stop the others. Lines that have arrived are
    answered together, so that a pipe that waits for each answer gets it. Raises OpaFailed.
    """
    with OpaSession(loaded.bundle) as opa:
        for lines in _batches(source):
            read = [_read(line, loaded.known) for line in lines]
            questions = [asked for _, asked in read if isinstance(asked, dict)]
            answers = iter(opa.ask(questions) if questions else [])
            for identity, asked in read:
                reply = {"error": asked} if isinstance(asked, str) else _decision(asked, next(answers))
                target.write(json.dumps({"id": identity, **reply}) + "\n")
            target.flush()


def _batches(source: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines that have arrived as groups, without waiting for more."""
    reader = source if isinstance(source, io.BufferedReader) else io.BufferedReader(source)  # type: ignore[type-var]
    while line := reader.readline():
        lines = [line]
        while len(lines) < _BATCH and b"\n" in reader.peek():
            lines.append(reader.readline())
        yield [line for line in lines if line.strip()]


def _read(line: bytes, known: Known) -> tuple[Any, Question | str]:
    try:
        written = json.loads(line)
    except ValueError:
        return None, "the line is not JSON"
    except RecursionError:
        return None, "the line is nested too deeply"
    if not isinstance(written, dict):
        return None, "the line is not a JSON object"
    try:
        return written.get("id"), question(written, known)
    except UnclearQuestion as unclear:
        return written.get("id"), str(unclear)


def _decision(asked: Question, answer: dict[str, Any]) -> dict[str, Any]:
    """Return the denying part of an answer, the route first; a permit needs both parts."""
    parts = [answer[part] for part in ("route", "resource") if part in asked]
    shown = next((part for part in parts if part["effect"] != "permit"), parts[-1])
    return {
        "decision": shown["effect"],
        "rule": shown["rule"],
        "source": shown["source"],
        "description": shown["description"],
        "reason": shown["reason"],
        "revision": answer["revision"],
    }
