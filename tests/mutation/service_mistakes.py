"""Deliberate mistakes about records, files and decisions, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

SERVICE_MISTAKES = (
    Mistake(
        "an unreadable item of a readable conversation is copied",
        "server/storage/records/guarded.py",
        "return {name: found[name].record for name in names if name in found}",
        "return {name: stored.record for name, stored in found.items()}",
    ),
    Mistake(
        "only records that exist are asked about",
        "server/storage/records/guarded.py",
        "self._resource(found[identity]) if identity in found else self._nothing(identity) for identity in identities",
        "self._resource(found[identity]) for identity in identities if identity in found",
    ),
    Mistake(
        "every 200th entry of a list is lost",
        "server/authz/pep.py",
        "yield questions[start : start + MOST_TOGETHER]",
        "yield questions[start : start + MOST_TOGETHER - 1]",
    ),
    Mistake(
        "large questions of all callers are one caller's",
        "server/authz/opa/exchanges.py",
        "turn = await self.large_room.take()",
        'turn = await self.large_room.take(caller=("all",))',
    ),
    Mistake(
        "the silence that a large question meets is the death of opa",
        "server/authz/opa/exchanges.py",
        "await self._look(trial=False)",
        "self.breaker.failed(trial=False)",
    ),
    Mistake(
        "probes wait behind callers",
        "server/authz/opa/exchanges.py",
        "self._probes = transport.beside(connections=room.PROBE_CONNECTIONS)",
        "self._probes = transport",
    ),
    Mistake(
        "a place of a large question that was given up is never free again",
        "server/authz/opa/exchanges.py",
        "asyncio.get_running_loop().call_later(linger, turn.end)",
        "asyncio.get_running_loop().call_later(linger, turn.end).cancel()",
    ),
    Mistake(
        "an exchange is as long as its questions are many",
        "server/authz/contract/question.py",
        "if size + principals.size > longest:",
        "if size > longest:",
    ),
    Mistake(
        "the first of several issuers is asked about every token",
        "server/wiring/authenticators.py",
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
        "server/authz/request_authorization.py",
        "await self._settle(denied.route_permit)\n            raise",
        "self._permit = denied.route_permit\n            raise",
    ),
    Mistake(
        "a failing sync ends the thread of the decision log",
        "server/authz/decision_log/log.py",
        "            self._sink.sync()\n        except OSError as fault:",
        "            self._sink.sync()\n        except ValueError as fault:",
    ),
    Mistake(
        "some of very many records are not looked for",
        "server/storage/records/table.py",
        "wanted[first : first + _MOST_AT_ONCE]",
        "wanted[first : first + _MOST_AT_ONCE - 1]",
    ),
    Mistake(
        "a file of another length is left open",
        "server/api/files/store.py",
        "            await reading.close()\n            raise BlobMissing",
        "            raise BlobMissing",
    ),
    Mistake(
        "a blob is claimed once it is there",
        "server/api/files/store.py",
        "        await self._claims.begin(self._id)\n        return await self._blobs.begin(self._id)",
        "        writing = await self._blobs.begin(self._id)\n"
        "        await self._claims.begin(self._id)\n        return writing",
    ),
    Mistake(
        "a sweep ends a hundred files and no more",
        "server/api/files/sweeper.py",
        "        while ended == _AT_ONCE:",
        "        if ended == _AT_ONCE:",
    ),
    Mistake(
        "a sweep removes a hundred blobs and no more",
        "server/api/files/sweeper.py",
        "        while keys := await",
        "        if keys := await",
    ),
    Mistake(
        "a sweep of files that fails is the last",
        "server/api/files/sweeper.py",
        'still there: %s", fault)\n',
        'still there: %s", fault)\n                return\n',
    ),
    Mistake(
        "a blob that is being removed is not claimed",
        "server/api/files/blob_leases.py",
        "write(removing, self._claiming(_UNWANTED + key))",
        "write(removing)",
    ),
    Mistake(
        "recovered decisions are not kept by the disk",
        "server/authz/decision_log/log.py",
        "            file.sync()\n            _log",
        "            _log",
    ),
    Mistake(
        "everyone waits for a log that has long failed",
        "server/authz/decision_log/log.py",
        "min(deadline, failing + PATIENCE_SECONDS)",
        "deadline",
    ),
    Mistake(
        "a closed log is written",
        "server/authz/decision_log/log.py",
        "if self._failing_since is not None or self._closing:",
        "if self._failing_since is not None:",
    ),
    Mistake(
        "a log that was taken away is not kept by the disk",
        "server/authz/decision_log/sink.py",
        "            with contextlib.suppress(OSError):\n                self.sync()\n            self._leave(None)",
        "            self._leave(None)",
    ),
    Mistake(
        "a link is followed to a journal",
        "server/authz/decision_log/journal.py",
        "os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW",
        "os.O_RDWR | os.O_CLOEXEC",
    ),
    Mistake(
        "a breaker that closes keeps its long pause",
        "server/authz/opa/breaker.py",
        "        self._pause = SHORTEST_PAUSE\n        self._open_until = None\n",
        "        self._open_until = None\n",
    ),
    Mistake(
        "late failures prolong the pause of a breaker",
        "server/authz/opa/breaker.py",
        "        elif self._open_until is not None:\n            return",
        "        elif self._open_until is not None:\n            pass",
    ),
    Mistake(
        "each failed trial is an opening",
        "server/authz/opa/breaker.py",
        "self.openings += self._open_until is None",
        "self.openings += 1",
    ),
    Mistake(
        "a named limit may be a boolean",
        "server/authz/contract/answer.py",
        'type(only["limit"]) is not int or',
        'not isinstance(only["limit"], int) or',
    ),
    Mistake(
        "a named limit may count from the end",
        "server/authz/contract/answer.py",
        ' or only["limit"] < 0:',
        ":",
    ),
    Mistake(
        "the first of several named limits holds",
        "server/authz/contract/answer.py",
        "listed[0] if len(listed) == 1 else None",
        "listed[0] if listed else None",
    ),
    Mistake(
        "a refused route may name a limit",
        "server/authz/contract/answer.py",
        "if question is None and verdict is Verdict.PERMIT and listed:",
        "if question is None and listed:",
    ),
    Mistake(
        "a blob is not kept by the disk",
        "server/storage/blobs/directory.py",
        "        os.fsync(self._opened)\n",
        "",
    ),
    Mistake(
        "a blob's name is not kept by the disk",
        "server/storage/blobs/directory.py",
        "                os.fsync(opened)\n",
        "                pass\n",
    ),
    Mistake(
        "a disk that takes half of a piece loses the rest",
        "server/storage/blobs/directory.py",
        "        while rest:\n            rest = rest[os.write(self._opened, rest) :]",
        "        os.write(self._opened, rest)",
    ),
    Mistake(
        "a caller without a token fills the decision log",
        "server/authz/decision_log/refusals.py",
        "self._whole[key] >= WHOLE_EACH:",
        "self._whole[key] >= 10**9:",
    ),
    Mistake(
        "counted refusals are lost when the server ends",
        "server/authz/decision_log/refusals.py",
        "                await self._write_counts()\n        except (PolicyUnavailable, NoRoom, TimeoutError):",
        "                pass\n        except (PolicyUnavailable, NoRoom, TimeoutError):",
    ),
    Mistake(
        "lines that were written hold their room",
        "server/authz/decision_log/log.py",
        "        for turn in self._given.popleft():\n            turn.end()\n",
        "        self._given.popleft()\n",
    ),
    Mistake(
        "a full disk comes without a warning",
        "server/authz/decision_log/disk_space.py",
        "if free < LOW_SPACE and not self.is_low:",
        "if free < 0 and not self.is_low:",
    ),
    Mistake(
        "a file is not rotated unless it is told to",
        "server/config/decision_log.py",
        "return setting if isinstance(setting, RotatedLog) else RotatedLog(path=setting)",
        "return setting if isinstance(setting, RotatedLog) else RotatedLog(path=setting, rotate_at=None)",
    ),
    Mistake(
        "a chat whose model talks takes room from all",
        "server/storage/write_queue.py",
        ", self._room.turn(self._least):\n",
        ":\n                await self._room.take(self._least)\n",
    ),
)
