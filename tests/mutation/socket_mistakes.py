"""Deliberate mistakes in WebSockets, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

FRAMES = "server/http/websocket/frames.py"
PROTOCOL = "server/http/websocket/protocol.py"
TURNS = "server/http/websocket/turns.py"
MEMORY = "server/http/websocket/memory.py"
WIRE = "server/http/websocket/wire.py"
GUARD = "server/http/route_guard.py"
OPENING = "server/http/websocket/opening.py"
SHARES = "server/http/websocket/shares.py"

SOCKET_MISTAKES = (
    Mistake(
        "all messages that come at once are taken at once",
        PROTOCOL,
        " or not self._shares.chunks.pass_now(self._caller)",
        "",
    ),
    Mistake(
        "a WebSocket is opened without a question",
        GUARD,
        "            if entry.asks_policy:\n                await gate.enter()\n",
        "",
    ),
    Mistake("a WebSocket is opened on every path", TURNS, 'rstrip(b"/") != PATH.encode()', 'rstrip(b"/") == b""'),
    Mistake("any page opens a WebSocket", OPENING, "or not cors.allows(origins[0])", "or not origins"),
    Mistake(
        "pages open WebSockets where none may call",
        OPENING,
        "if origins and (cors is None or",
        "if origins and cors is not None and (",
    ),
    Mistake(
        "a token that is over stays on its WebSocket",
        PROTOCOL,
        "            self._is_token_over = True\n            if self._turn is None:\n",
        "            if self._turn is None and self._is_token_over:\n",
    ),
    Mistake(
        "a WebSocket goes on after a message with a bad token",
        PROTOCOL,
        "elif self._is_token_over or turn.status == HTTPStatus.UNAUTHORIZED:",
        "elif self._is_token_over:",
    ),
    Mistake(
        "two responses are under way on a WebSocket",
        PROTOCOL,
        "        if self._turn is None:\n            self._ask(text)\n",
        "        if text:\n            self._ask(text)\n",
    ),
    Mistake(
        "messages are refused without end",
        PROTOCOL,
        "if self._refused > MOST_REFUSED:",
        "if self._refused < 0:",
    ),
    Mistake("pings have no end", PROTOCOL, "if self._controls > MOST_CONTROLS:", "if self._controls < 0:"),
    Mistake(
        "callers open WebSockets without end", OPENING, "take_now(1, entry.caller)", 'take_now(1, (f"{id(entry)}",))'
    ),
    Mistake(
        "the room of a WebSocket is never given back",
        PROTOCOL,
        "            self._socket.end()\n            self._socket = None\n",
        "            self._socket = None\n",
    ),
    Mistake(
        "large messages hold no room",
        SHARES,
        "        if size < LARGE or more <= 0:\n",
        "        if size:\n",
    ),
    Mistake(
        "a client that has gone keeps its WebSocket",
        PROTOCOL,
        "if now - self._heard > 2 * LOOK_SECONDS:",
        "if now < self._heard:",
    ),
    Mistake("reserved bits mean nothing", FRAMES, "return RsvBits(False, False, False)", "return rsv"),
    Mistake("messages have any size", FRAMES, "if self.size + payload_length > self._most:", "if payload_length < 0:"),
    Mistake("messages come in crumbs", FRAMES, "if self.fragments >= MOST_FRAGMENTS:", "if self.fragments < 0:"),
    Mistake("messages are binary", FRAMES, "if opcode is Opcode.BINARY:", "if opcode is None:"),
    Mistake(
        "a message in frames has all the time",
        FRAMES,
        "return self._begun > 0 or self._bounds.fragments > 0",
        "return self._begun > 0",
    ),
    Mistake(
        "what comes on a WebSocket is read in one turn",
        PROTOCOL,
        "[place : place + self._reader.at_once]",
        "[place:]",
    ),
    Mistake(
        "a failed turn goes on from what it named",
        PROTOCOL,
        "if memory.used is not None and not turn.is_completed:",
        "if memory.used is not None and turn.is_completed is None:",
    ),
    Mistake(
        "a connection remembers without end",
        MEMORY,
        "while len(self._kept) >= MOST_REMEMBERED or",
        "while len(self._kept) < 0 and",
    ),
    Mistake(
        "half a message is followed by another",
        WIRE,
        "            self._transport.abort()  # half a frame can't be followed by another\n",
        "",
    ),
    Mistake(
        "an unread WebSocket is kept",
        WIRE,
        "call_later(STALLED_SECONDS, self._transport.abort)",
        "call_later(3600, self._transport.abort)",
    ),
    Mistake(
        "a response without output asks its model",
        "server/api/responses/routes.py",
        "if not body.generates:",
        "if body.generates is None:",
    ),
    Mistake(
        "a response without output is not checked",
        "server/api/responses/routes.py",
        "        await self._making.check(request, opening, model)\n        state =",
        "        state =",
    ),
    Mistake(
        "a message may ask for what isn't served on a WebSocket",
        "server/api/responses/body.py",
        "for name in (name for name, is_given in refused.items() if is_given):",
        "for name in ():",
    ),
)
