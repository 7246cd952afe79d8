"""Deliberate mistakes about what callers and operators write, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

REQUEST_MISTAKES = (
    Mistake(
        "an item of an unreadable conversation is copied",
        "server/api/conversations/items.py",
        "for identity, record in records.items() if record.parent in entered}",
        "for identity, record in records.items()}",
    ),
    Mistake(
        "an upload that drips goes on for ever",
        "server/api/files/upload.py",
        "min(STALL_SECONDS, GRACE_SECONDS + size / SLOWEST - waited)",
        "STALL_SECONDS",
    ),
    Mistake(
        "an empty page has what comes before its start",
        "server/http/pagination.py",
        "if before in places else 0",
        "if before in places else len(places)",
    ),
    Mistake(
        "a page that ends the list has more",
        "server/http/pagination.py",
        "return page, len(places) > query.limit",
        "return page, len(places) >= query.limit",
    ),
    Mistake(
        "a page may reach a private network",
        "server/http/cors.py",
        '["private-network"] if "access-control-request-private-network" in asked else []',
        "[]",
    ),
    Mistake(
        "the first of two origins may call",
        "server/http/cors.py",
        "if len(origins) != 1 or not",
        "if not origins or not",
    ),
    Mistake(
        "credentials are for everybody",
        "server/http/cors.py",
        "if policy.allow_credentials and not self._anybody:",
        "if policy.allow_credentials:",
    ),
    Mistake(
        "a conflict is tried again",
        "server/http/error_table.py",
        'same time; read it again",\n    _NO_RETRY,',
        'same time; read it again",\n    _SOON,',
    ),
    Mistake(
        "a change in doubt is tried again",
        "server/http/error_table.py",
        "_SOON | _NO_RETRY,",
        "_SOON,",
    ),
    Mistake(
        "a full disk is tried again",
        "server/http/error_table.py",
        'nothing of it was kept",\n        _NO_RETRY,',
        'nothing of it was kept",\n        _SOON,',
    ),
    Mistake(
        "a chat of any size is stored",
        "server/api/chat/body.py",
        "if len(document.raw) > MOST_STORED:",
        "if False:",
    ),
    Mistake(
        "a provider sees the metadata of what is stored",
        "server/inference/members.py",
        'if stored and name in ("store", "metadata"):',
        'if stored and name == "store":',
    ),
    Mistake(
        "a provider is asked to store too",
        "server/inference/members.py",
        'if stored and name in ("store", "metadata"):',
        'if stored and name == "metadata":',
    ),
    Mistake(
        "a model in another spelling is passed on",
        "server/api/chat/body.py",
        "    check_spelling(body, _READ_HERE)\n",
        "",
    ),
    Mistake(
        "a quota counts hours",
        "server/config/quota.py",
        'one_of("minute", "hour", "day")] = "day"',
        'one_of("minute", "hour", "day")] = "hour"',
    ),
    Mistake(
        "credentials for a pattern of plain addresses",
        "server/config/server.py",
        '    "http://192.0.2.1",\n',
        "",
    ),
    Mistake(
        "a database is asked without the protection that is wanted",
        "server/config/storage.py",
        '"sslmode": self.ssl_mode}',
        '"sslmode": "prefer"}',
    ),
    Mistake(
        "a user's name may end the address of a database",
        "server/config/storage.py",
        "{quote(self.user, safe='')}:",
        "{self.user}:",
    ),
    Mistake(
        "a valkey is asked without TLS",
        "server/config/storage.py",
        "'rediss' if self.tls else 'redis'",
        "'redis'",
    ),
    Mistake(
        "a file may have a gigabyte",
        "server/config/storage.py",
        "= 512 * 1024 * 1024",
        "= 1024 * 1024 * 1024",
    ),
    Mistake(
        "a field of a form is collected without end",
        "server/api/files/upload.py",
        "if len(self._value) > (_LONGEST_JSON if self._current == _EXPIRES else _LONGEST_FIELD):",
        "if False:",
    ),
    Mistake(
        "a header of a part may come twice",
        "server/http/multipart.py",
        '        if name in self.headers:\n            raise _malformed("a header of a part comes twice")\n',
        "",
    ),
    Mistake(
        "a part may be encoded",
        "server/http/multipart.py",
        'not in (b"7bit", b"8bit", b"binary"):',
        "is None:",
    ),
    Mistake(
        "a part may have two names",
        "server/http/multipart.py",
        " and len(names) == len({*names}):",
        ":",
    ),
    Mistake(
        "the head of a part may have any size",
        "server/http/multipart.py",
        "            max_header_size=LONGEST_HEADER,\n",
        "",
    ),
    Mistake(
        "a message of another chat is a cursor",
        "server/api/chat/stored_routes.py",
        "if whose != messages.identity or not",
        "if not",
    ),
    Mistake(
        "a name may hold a NUL",
        "server/api/registry/body.py",
        "any(map(_has_nul, value)) or any(map(_has_nul, value.values()))",
        "any(map(_has_nul, value.values()))",
    ),
    Mistake(
        "what is interrupted between blocks begins the next one",
        "server/http/interruptible.py",
        "        if self._interrupted:\n            raise self._reason()\n        self._task",
        "        self._task",
    ),
    Mistake(
        "a shutdown is taken for an interruption",
        "server/http/interruptible.py",
        "if task.uncancel() == 0 and isinstance(error, asyncio.CancelledError):",
        "if task.uncancel() >= 0 and isinstance(error, asyncio.CancelledError):",
    ),
    Mistake(
        "a connection that its client has closed takes a place",
        "server/process/acceptor.py",
        "turn = None if _is_left(connection) else self._connections.one_more(caller)",
        "turn = self._connections.one_more(caller)",
    ),
    Mistake(
        "a handshake that fails keeps its place",
        "server/process/acceptor.py",
        "doesn't speak TLS\n            turn.end()",
        "doesn't speak TLS",
    ),
    Mistake(
        "one process takes a whole crowd",
        "server/process/acceptor.py",
        "ceil(waiting / (2 * self._workers))",
        "ceil(waiting / 1)",
    ),
    Mistake(
        "nothing is told of a client that leaves",
        "server/http/protocol.py",
        "        if self._leaving is not None:\n            self._leaving.tell()\n",
        "",
    ),
    Mistake(
        "a large last piece hides that its client leaves",
        "server/http/protocol.py",
        "            self.flow.resume_reading()\n            self._leaving.is_heard = True",
        "            self._leaving.is_heard = True",
    ),
    Mistake(
        "work is begun for a client that is gone",
        "server/http/disconnects.py",
        "            if leaving.is_gone:\n                raise ClientGone\n",
        "",
    ),
    Mistake(
        "a client that leaves ends what comes behind the work",
        "server/http/disconnects.py",
        "            self._leaving.unwatch(self._block.interrupt)",
        "            pass",
    ),
)
