"""Deliberate mistakes about records, files, lists and the decision log, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

SERVICE_MISTAKES = (
    Mistake(
        "an item of an unreadable conversation is copied",
        "server/api/items.py",
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
        "a refused resource costs nothing",
        "server/guards.py",
        "await self._settle()\n            raise",
        "self.judged = True\n            raise",
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
        "an empty page has what comes before its start",
        "server/api/paging.py",
        "if before in places else 0",
        "if before in places else len(places)",
    ),
    Mistake(
        "a page that ends the list has more",
        "server/api/paging.py",
        "return page, len(places) > query.limit",
        "return page, len(places) >= query.limit",
    ),
)
