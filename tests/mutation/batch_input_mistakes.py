"""Deliberate mistakes around batches: in input files, at the terminal and in settings; the suite must notice each."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

CHECKS = "server/api/batches/line_checks.py"
VALIDATION = "server/api/batches/validation.py"
COMMAND = "server/cli/batch.py"

BATCH_INPUT_MISTAKES = (
    Mistake("a line asks for any route", CHECKS, '_member(line, "url") != endpoint', 'not _member(line, "url")'),
    Mistake("a line begins with its route", CHECKS, "!= endpoint:", ".partition('?')[0] != endpoint:"),
    Mistake(
        "a line has any method", CHECKS, 'if _member(line, "method") != "POST":', 'if not _member(line, "method"):'
    ),
    Mistake(
        "a line has an empty name", CHECKS, "not 0 < len(identity) <= LONGEST_ID", "not len(identity) <= LONGEST_ID"
    ),
    Mistake("a line has no model", CHECKS, 'model = _member(body, "model", "body.")', 'model = body.get("model", "m")'),
    Mistake(
        "a line is as long as it likes", CHECKS, "if len(line) > LONGEST_LINE:", "if len(line) > 2 * LONGEST_LINE:"
    ),
    Mistake(
        "names of lines are compared nearby",
        VALIDATION,
        "        lines = [\n",
        "        self._seen = {}\n        lines = [\n",
    ),
    Mistake("a mark of bytes moves no place", VALIDATION, "self._place = len(_BOM)", "self._place = 0"),
    Mistake("blank lines are left out", VALIDATION, "if at < ends:", "if at < ends < 0:"),
    Mistake(
        "a file has any number of lines",
        VALIDATION,
        "if self._total + len(numbers) > MOST_LINES:",
        "if self._total > MOST_LINES:",
    ),
    Mistake("lines behind an error are kept", VALIDATION, "if lines and not self._errors:", "if lines:"),
    Mistake("a file is as large as it likes", VALIDATION, "if size > MOST_BYTES:", "if size > 2 * MOST_BYTES:"),
    Mistake(
        "a busy reader is a fault of the file",
        VALIDATION,
        "raise NoRoom(READS.name, of_caller=False) from None",
        "raise InvalidInput([LineError(INVALID_LINE, 'x')]) from None",
    ),
    Mistake("a command replaces files unasked", COMMAND, "        if not force:\n", "        if force is None:\n"),
    Mistake(
        "a batch with errors ends well",
        COMMAND,
        'return status == "completed" and not failed',
        'return status == "completed"',
    ),
    Mistake(
        "a file is left where no batch is made",
        COMMAND,
        "        server.try_to_delete(f\"/v1/files/{segment(sent['id'])}\")\n",
        "",
    ),
    Mistake("what is begun is forgotten", COMMAND, "if begun and resume is None:", "if not begun:"),
    Mistake(
        "Ctrl-C tells nothing of a batch", COMMAND, "    if not begun:\n        return", "    if begun:\n        return"
    ),
    Mistake(
        "settings of batches are those of the server",
        "server/config/batches.py",
        "if isinstance(provider, BatchesProvider):",
        "if not isinstance(provider, BatchesProvider):",
    ),
)
