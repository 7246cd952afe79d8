"""Compactions among the items that a model is asked with: each is opened for its caller, and read as a message."""

from __future__ import annotations

import time
from collections.abc import Iterator
from json import dumps, loads
from typing import Final

from server.api.conversations.body import PREFIXES
from server.api.responses.context import Context
from server.authn.seals import Seals, Unopened
from server.authz.request_authorization import Gate
from server.fairness.caller import CURRENT, Caller, caller_of
from server.http.errors import ApiError, invalid

LIFETIME: Final = 90 * 24 * 3600
"""Seconds for which a compaction can be gone on from."""

_OURS: Final = f"{PREFIXES['compaction']}_"
_SAID: Final = "A summary of the conversation so far:\n\n"


def sealing_caller(gate: Gate) -> Caller:
    """Return the caller that seals are bound to: the principal, or the address of one without a token."""
    return caller_of(gate.principal, str(CURRENT.get()))


def asked_items(seals: Seals, gate: Gate, context: Context) -> Iterator[bytes | memoryview]:
    """Yield the items as a model is asked with them; raises the 400 of a compaction that does not open."""
    caller, now = sealing_caller(gate), int(time.time())
    for place, (identity, item) in enumerate(zip(context.items.ids, context.items.plain(), strict=True)):
        yield _opened(seals, caller, item, place - context.known, now) if identity.startswith(_OURS) else item


def _opened(seals: Seals, caller: Caller, item: memoryview, place: int, now: int) -> bytes:
    sealed = loads(bytes(item)).get("encrypted_content")
    try:
        text = seals.opened(caller, sealed if type(sealed) is str else "", now)
    except Unopened as fault:
        raise _refusal(fault, place) from None
    content = [{"type": "input_text", "text": f"{_SAID}{text}"}]
    return dumps({"type": "message", "role": "user", "content": content}).encode()


def _refusal(fault: Unopened, place: int) -> ApiError:
    param = f"input[{place}].encrypted_content" if place >= 0 else "input"
    if fault.expired:
        sentence = f"`{param}` is older than the {LIFETIME // 86_400} days of a compaction; leave it out"
    else:
        sentence = f"`{param}` is no compaction that this server has made for you; send it as it came, or leave it out"
    return invalid(sentence, param, "invalid_encrypted_content")
