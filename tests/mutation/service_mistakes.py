"""Deliberate mistakes about records, providers, quotas and the decision log, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

ITEMS = "server/api/items.py"
QUOTA = "server/quota/quota.py"

SERVICE_MISTAKES = (
    Mistake(
        "an item of an unreadable conversation is copied",
        ITEMS,
        "if identity not in records or records[identity].parent not in entered:",
        "if identity not in records:",
    ),
    Mistake(
        "an unreadable item of a readable conversation is copied",
        "server/storage/guarded.py",
        "return {name: found[name].record for name in names if name in found}",
        "return {name: stored.record for name, stored in found.items()}",
    ),
    Mistake(
        "only records that exist are asked about",
        "server/storage/guarded.py",
        "self._resource(found[identity]) if identity in found else self._nothing(identity) for identity in identities",
        "self._resource(found[identity]) for identity in identities if identity in found",
    ),
    Mistake(
        "every 200th entry of a list is lost",
        "server/authz/pep.py",
        "asked = questions[start : start + MOST_TOGETHER]",
        "asked = questions[start : start + MOST_TOGETHER - 1]",
    ),
    Mistake(
        "a provider's redirect is followed",
        "server/inference/openai_compatible.py",
        "data=data, headers=headers, allow_redirects=False",
        "data=data, headers=headers, allow_redirects=True",
    ),
    Mistake(
        "an error in a chunk of the known form is passed on",
        "server/inference/events.py",
        """b'"model"' in middle or b'"error"' in middle""",
        """b'"model"' in middle""",
    ),
    Mistake(
        "a disguised error in a chunk of the known form is passed on",
        "server/inference/events.py",
        'b"\\n" in middle or disguises(middle)',
        'b"\\n" in middle',
    ),
    Mistake(
        "the first of several issuers is asked about every token",
        "server/authenticators.py",
        "judge = keys or endpoint",
        "judge = keys or judges[0][2]",
    ),
    Mistake(
        "an issuer that is asked speaks for every other",
        "server/authn/introspection.py",
        "check_issuer_and_audience(claims, self._rules) or self",
        'claims.get("iss") or self',
    ),
    Mistake(
        "budgets of named limits are not charged",
        QUOTA,
        "self._authenticated, *self._named)",
        "self._authenticated)",
    ),
    Mistake(
        "the time to the next period is the whole period",
        QUOTA,
        "max(1, used.window + self._period - int(self._now()))",
        "self._period",
    ),
    Mistake(
        "a reservation is settled each time",
        "server/toll.py",
        "            self._settled = True\n",
        "",
    ),
    Mistake(
        "a refused resource costs nothing",
        "server/guards.py",
        "await self._settle()\n            raise",
        "self.judged = True\n            raise",
    ),
    Mistake(
        "a late clock takes the period in PostgreSQL along",
        "server/quota/postgres.py",
        'greatest(excluded."window", kept."window")',
        'excluded."window"',
    ),
    Mistake(
        "an upload that drips goes on for ever",
        "server/api/uploads.py",
        "min(STALL_SECONDS, GRACE_SECONDS + size / SLOWEST - waited)",
        "STALL_SECONDS",
    ),
    Mistake(
        "a failing sync ends the thread of the decision log",
        "server/authz/decision_log.py",
        "            self._sink.sync()\n        except OSError as fault:",
        "            self._sink.sync()\n        except ValueError as fault:",
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
        "a name with escapes is not replaced in a whole answer",
        "server/inference/renaming.py",
        "and text.count(b'\"model\"') == 1 and not disguises(text):",
        "and text.count(b'\"model\"') == 1:",
    ),
    Mistake(
        "members with escapes keep their spelling",
        "server/inference/renaming.py",
        '    if b"\\\\" not in name:\n        return name\n    try:',
        "    return name\n    try:",
    ),
    Mistake(
        "a provider's refusal is read without end",
        "server/inference/openai_compatible.py",
        "self._read(response, _MAX_REFUSAL)",
        "self._read(response, 100 * MAX_ANSWER)",
    ),
    Mistake(
        "a provider that refuses without end is not let go",
        "server/inference/openai_compatible.py",
        "            said = await self._read(response, _MAX_REFUSAL)\n        finally:\n            cut(response)",
        "            said = await self._read(response, _MAX_REFUSAL)\n        finally:\n            pass",
    ),
)
