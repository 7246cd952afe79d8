"""Deliberate mistakes about what callers may use and what it costs, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

QUOTA_MISTAKES = (
    Mistake(
        "several choices cost as much as one",
        "server/api/chat/cost.py",
        'choices = number_of(body, "n") or 1',
        "choices = 1",
    ),
    Mistake(
        "the least of several lengths counts",
        "server/api/chat/cost.py",
        "limit = max(",
        "limit = min(",
    ),
    Mistake(
        "an image costs a token",
        "server/api/chat/cost.py",
        "attachments * ATTACHMENT_TOKENS",
        "attachments",
    ),
    Mistake(
        "names of members cost nothing",
        "server/api/chat/cost.py",
        "                waiting += members.keys()\n",
        "",
    ),
    Mistake(
        "tools cost nothing",
        "server/api/chat/cost.py",
        '("messages", "tools", "functions", "response_format")',
        '("messages", "functions", "response_format")',
    ),
    Mistake(
        "a wish for usage in another spelling is overlooked",
        "server/api/models/request_body.py",
        '    check_spelling(options, {_USAGE}, "stream_options.")\n',
        "",
    ),
    Mistake(
        "a length in another spelling is overlooked",
        "server/api/chat/cost.py",
        "    check_spelling(body, _READ_HERE)\n",
        "",
    ),
    Mistake(
        "a length may be true",
        "server/api/models/request_body.py",
        "if type(value) is not int or value < 1:",
        "if not isinstance(value, int) or value < 1:",
    ),
    Mistake(
        "budgets of named limits are not charged",
        "server/quota/quota.py",
        "self._authenticated, *self._named)",
        "self._authenticated)",
    ),
    Mistake(
        "the time to the next period is the whole period",
        "server/quota/quota.py",
        "max(1, used.window + self._period - int(self._now()))",
        "self._period",
    ),
    Mistake(
        "a reservation is settled each time",
        "server/quota/admission.py",
        "            self._settled = True\n",
        "",
    ),
    Mistake(
        "a late clock takes the period in PostgreSQL along",
        "server/quota/postgres.py",
        'greatest(excluded."window", kept."window")',
        'excluded."window"',
    ),
    Mistake(
        "a failed batch of counts keeps its transaction open",
        "server/quota/sqlite.py",
        '            database.execute("ROLLBACK")\n',
        "            pass\n",
    ),
    Mistake(
        "counts that are being taken are dropped at the end",
        "server/quota/sqlite.py",
        "            await self._writer\n",
        "            pass\n",
    ),
    Mistake(
        "a locked file of counts is waited for without end",
        "server/quota/sqlite.py",
        " or time.monotonic() > deadline:",
        ":",
    ),
    Mistake(
        "counts of the current period are swept",
        "server/quota/quota.py",
        "self._window() - self._period)",
        "self._window() + self._period)",
    ),
    Mistake(
        "counts of the last period are swept",
        "server/quota/quota.py",
        "forget(self._window() - self._period)",
        "forget(self._window())",
    ),
    Mistake(
        "one failing sweep is the last",
        "server/quota/quota.py",
        '                _log.warning("%s", failure)\n',
        '                _log.warning("%s", failure)\n                return\n',
    ),
    Mistake(
        "servers that start together make the table of counts twice",
        "server/quota/postgres.py",
        "SELECT pg_advisory_xact_lock(7289140255511);\n",
        "",
    ),
    Mistake(
        "a database of counts is waited for without end",
        "server/quota/postgres.py",
        "timeout=_SECONDS, command_timeout=_SECONDS",
        "timeout=_SECONDS",
    ),
    Mistake(
        "a count in valkey ends with its period",
        "server/wiring/quotas.py",
        "ValkeyCounters(backend.url, 2 * PERIODS",
        "ValkeyCounters(backend.url, PERIODS",
    ),
    Mistake(
        "used up tokens are called used up requests",
        "server/quota/quota.py",
        "not units.requests or standing.requests_left != 0",
        "not units.requests",
    ),
    Mistake(
        "the log names the limit of requests for tokens",
        "server/quota/admission.py",
        "Limited(limit.tokens_place, limit.tokens,",
        "Limited(limit.requests_place, limit.tokens,",
    ),
    Mistake(
        "the log says what may be used for what is used",
        "server/quota/admission.py",
        "limit.requests, used.requests, reason)",
        "limit.requests, limit.requests, reason)",
    ),
    Mistake(
        "a day is no hours",
        "server/quota/admission.py",
        "divmod(seconds, 3600)",
        "divmod(seconds % 86400, 3600)",
    ),
    Mistake(
        "callers that have left are remembered",
        "server/quota/admission.py",
        "            if not self._inside[key]:\n                del self._inside[key]\n",
        "",
    ),
    Mistake(
        "all who have no name share their places",
        "server/fairness/caller.py",
        'return ("address", address)',
        'return ("address", "")',
    ),
    Mistake(
        "a whole answer without usage costs what was reserved",
        "server/inference/answers/metered.py",
        "or max(meter.reserved, visible)",
        "or meter.reserved",
    ),
    Mistake(
        "a stream without usage costs what was reserved",
        "server/inference/answers/metered.py",
        "or max(least, self._usage.events)",
        "or least",
    ),
    Mistake(
        "a provider that may have worked costs nothing",
        "server/inference/answers/metered.py",
        "self._is_refused = not failure.spent",
        "self._is_refused = True",
    ),
    Mistake(
        "a stream that can not be let go is not paid for",
        "server/inference/answers/metered.py",
        "        try:\n            await self._events.aclose()\n        finally:\n",
        "        await self._events.aclose()\n        if True:\n",
    ),
    Mistake(
        "a create is held to no limit of storage",
        "server/storage/records/guarded.py",
        "await database.write(*steps, staying_within(limit, owner))",
        "await database.write(*steps)",
    ),
    Mistake(
        "an update may grow beyond what its owner may keep",
        "server/storage/records/guarded.py",
        "gate.storage_limit_of(record.owner) if added or more > 0 else None",
        "None",
    ),
    Mistake(
        "a refused upload leaves its blob",
        "server/api/files/store.py",
        "        except (StorageExceeded, NoRoom):\n            self._ours = True\n",
        "        except (StorageExceeded, NoRoom):\n",
    ),
    Mistake(
        "a removal is taken over before its mark is over",
        "server/storage/records/removal.py",
        "self._stopped, now, -now, _AT_ONCE",
        "self._stopped, now, -2**40, _AT_ONCE",
    ),
    Mistake(
        "large parts go as many at a time as small ones",
        "server/storage/records/removal.py",
        "if chosen and left < 0:",
        "if False:",
    ),
)
