"""Deliberate mistakes in batches, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

ACTING = "server/http/acting.py"
AUTHENTICATION = "server/http/authentication.py"
TURNS = "server/http/fair_turns.py"
METERED = "server/inference/answers/metered.py"
CALLER = "server/api/batches/acting_callers.py"
LINES = "server/api/batches/lines.py"
REMAINING = "server/api/batches/remaining.py"
JOURNAL = "server/api/batches/journal.py"
RUNNING = "server/api/batches/running.py"
UNDER_WAY = "server/api/batches/under_way.py"
RESULTS = "server/api/batches/results.py"
WORK = "server/api/batches/work.py"
WORKER = "server/api/batches/worker.py"
FILES = "server/api/batches/making_files.py"
QUEUE = "server/api/batches/queue.py"
ROUTES = "server/api/batches/routes.py"
PARTS = "server/api/batches/parts.py"

BATCH_MISTAKES = (
    Mistake(
        "a cancel that comes before a batch waits is lost",
        "server/api/batches/held.py",
        "if version is not None and record.version != version:",
        "if False:",
    ),
    Mistake(
        "a cancel that is not read before a batch waits is lost",
        "server/api/batches/held.py",
        "return [pausing, self._table.changing(record, record.body, record.facet, None)]",
        "return [pausing]",
    ),
    Mistake("a line pays no request", AUTHENTICATION, "is_paid=acting.is_paid)", "is_paid=True)"),
    Mistake("a line that waits is paid twice", LINES, "charge is not None and charge.is_paid", "False"),
    Mistake(
        "a line that was under way is done again", RUNNING, "for place in self._held.progress.open:", "for place in ():"
    ),
    Mistake("nothing notes which lines are begun", JOURNAL, "open=tuple(sorted(spent_on)),", "open=(),"),
    Mistake(
        "results are stored and not counted off",
        UNDER_WAY,
        "        del self.results[:count]\n",
        "        self.results.clear()\n",
    ),
    Mistake(
        "results that come late are lost",
        JOURNAL,
        "    return [*results]\n",
        "    return results  # type: ignore[return-value]\n",
    ),
    Mistake("what is left is not named at the end", RUNNING, "await self._end_all(_CODES[end])", "pass"),
    Mistake(
        "a cancel begins further lines",
        RUNNING,
        'if body["status"] == "cancelling":',
        'if body["status"] == "cancelled":',
    ),
    Mistake("a window never ends", RUNNING, 'body["expires_at"] <= time.time()', 'body["expires_at"] < 0'),
    Mistake(
        "a line is run as its owner was",
        CALLER,
        "Anonymous() if self.known is None else self.known",
        "Anonymous() if self._work.owner is None else self._work.owner",
    ),
    Mistake(
        "the server acts for an owner for ever",
        CALLER,
        "self.known is None or self._at + self._longest > time.time()",
        "True",
    ),
    Mistake(
        "a deleted file is run to its end",
        RUNNING,
        "if self._refusal is None and not await self._file.is_there():",
        "if False:",
    ),
    Mistake(
        "a line without quota is refused",
        LINES,
        "        if charge is not None and charge.exceeded is not None:\n",
        "        if charge is None and False:\n",
    ),
    Mistake("a busy provider is asked once", LINES, "MOST_TRIES: Final = 5", "MOST_TRIES: Final = 1"),
    Mistake("what was refused counts as spent", METERED, "            self._spending.take_back()\n", ""),
    Mistake(
        "results have room without end", JOURNAL, "            limit if results else None,\n", "            None,\n"
    ),
    Mistake(
        "lines without room are run",
        RUNNING,
        "        if not begin or await self._has_room(begin):\n",
        "        if True:\n",
    ),
    Mistake("files of a batch need no leave", ROUTES, "        await self._files.records.permit_create(gate)\n", ""),
    Mistake("any file is an input", ROUTES, "if file.facet != _BATCH:", "if not file.facet:"),
    Mistake(
        "a stream is sent to a file",
        LINES,
        "        if self.line.streams:\n",
        "        if self.line.streams and not text:\n",
    ),
    Mistake("a file of a batch is kept for good", FILES, "LIFETIME if lifetime is None else lifetime", "lifetime"),
    Mistake("parts of a batch stay", WORK, "        await self._clear(held)\n", "        await held.end()\n"),
    Mistake(
        "what waits is not woken", QUEUE, "if lease is not None and lease.progress.is_paused:", "if lease is None:"
    ),
    Mistake("ends of lines stand inside of lines", RESULTS, '("\\u2028".encode(), b"\\\\u2028"),', ""),
    Mistake(
        "a late lease is left to others",
        WORKER,
        "            await before.renew_late()\n",
        "            before.lose()\n",
    ),
    Mistake(
        "a key is for any request",
        ROUTES,
        "if not is_asked_again(record, asked):",
        "if record is None:",
    ),
    Mistake(
        "callers share their keys",
        "server/api/batches/batch.py",
        '["principal", caller.issuer, caller.id]',
        '["principal"]',
    ),
    Mistake(
        "two requests with a key at once make an error",
        ROUTES,
        "with suppress(AlreadyThere):",
        "with suppress():",
    ),
    Mistake(
        "tries of a line are forgotten when its batch pauses",
        REMAINING,
        "Again(is_paid, tries=tries) for",
        "Again(is_paid) for",
    ),
    Mistake(
        "the list of a batch's lines counts with no one",
        "server/api/batches/checking.py",
        "[listing], self._limit, 1)",
        "[listing], None, 1)",
    ),
    Mistake(
        "all parts of a batch are removed at once",
        PARTS,
        "left[:few]]",
        "left]",
    ),
    Mistake(
        "two callers have all lines",
        LINES,
        "if turn is None and not (self._shares.held() or first.held() or large.held()):",
        "if False:",
    ),
    Mistake(
        "one batch alone is asked to make room",
        WORKER,
        "staying = self._since.keys() - self._leaving",
        "staying = self._since.keys()",
    ),
    Mistake(
        "a line that ends as others are written has two results",
        UNDER_WAY,
        "        come = [*self.results]\n",
        "        come = self.results\n",
    ),
    Mistake(
        "a line that fits in no period waits",
        "server/quota/admission.py",
        "self.never_fits = standing.limit.tokens is not None and tokens > standing.limit.tokens",
        "self.never_fits = False",
    ),
    Mistake(
        "faults of the server are tries of a provider", LINES, "            again.faults =", "            again.tries ="
    ),
    Mistake(
        "errors of a batch have room without end",
        JOURNAL,
        "            limit if results else None,\n",
        "            limit if good else None,\n",
    ),
    Mistake("a line that was begun is not told", JOURNAL, "if some[0].place not in before.open:", "if True:"),
    Mistake(
        "what is left for another write is begun once more",
        JOURNAL,
        "places = [result.place for result in results if result.place not in before.open]",
        "places = [result.place for result in results]",
    ),
    Mistake(
        "a line that was put back is noted as begun",
        UNDER_WAY,
        "                self._is_changed = True\n                raise\n",
        "                raise\n",
    ),
    Mistake(
        "a change in doubt that was made is another process's",
        QUEUE,
        "was_written = self.progress.writes == known.progress.writes + 1",
        "was_written = False",
    ),
    Mistake(
        "a renewal in doubt that was made is another process's",
        QUEUE,
        "ahead == 1 and (was_renewed or was_written)",
        "ahead == 1 and was_written",
    ),
    Mistake("a batch keeps no room for its end", ROUTES, "[entering, *room]", "[entering]"),
    Mistake(
        "a batch of an older server can't be shown",
        "server/api/batches/batch.py",
        'record.body.get("usage", NOTHING)',
        'record.body["usage"]',
    ),
    Mistake("tokens without room are not counted", JOURNAL, "FULL)._replace(usage=some[0].usage)", "FULL)"),
    Mistake(
        "the tokens of the last lines are those of a batch",
        "server/api/batches/batch.py",
        "sum_of([_usage(record), usage])",
        "usage",
    ),
    Mistake(
        "large results hold no turn", UNDER_WAY, "        if is_large and not self._is_closed:\n", "        if False:\n"
    ),
    Mistake("a caller waits for the batches of others", WORKER, "self._first = first", "self._first = 0"),
    Mistake(
        "batches that make room are counted",
        WORKER,
        "staying = len(self._held) - len(self._leaving)",
        "staying = len(self._held)",
    ),
    Mistake(
        "a caller has many lines beyond those of all",
        LINES,
        "if turn is None and not (self._shares.held() or first.held() or large.held()):",
        "if turn is None and not self._shares.held():",
    ),
    Mistake(
        "large lines beyond those of all are many",
        LINES,
        "(first if size <= HEAVY else large).take_now()",
        "first.take_now()",
    ),
    Mistake(
        "a usage inside of an answer is that of the answer",
        "server/api/batches/usage.py",
        "    except ValueError:\n        return None",
        "    except ValueError:\n        return {}",
    ),
    Mistake(
        "lines that need more than is left stop those that need less",
        REMAINING,
        "others = len(self._again) - self._without_quota",
        "others = len(self._again)",
    ),
)
