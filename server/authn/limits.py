"""The limits of authentication: how much of an identity service and of the server one caller may use.

A caller that is not known yet is the address that its request comes from; a known one is its principal.
"""

from __future__ import annotations

from typing import Final

from server.fairness.shares import Share
from server.net.http_client import MAX_CONNECTIONS

MAX_REMEMBERED: Final = 10_000
"""Tokens that are remembered of each kind, accepted and refused, for each identity service; of a caller that has most
of them the oldest is forgotten first.
"""

MAX_REMEMBERED_BYTES: Final = 64 * 1024 * 1024
"""Bytes of the principals of accepted tokens that are remembered for each identity service. One takes 2 KB with twenty
groups, and 65 KB with as many as its token has room for.
"""

REFUSAL_SECONDS: Final = 5.0
"""Seconds for which a refused token is refused again without a request to the service."""

AHEAD_SECONDS: Final = 10.0
"""Seconds before the end of an answer's time in which its next use asks again, at most half of that time.

The last answer stands until then, and never beyond its time: a token that is revoked works no longer than without this.
"""

RECHECK_RETRY_SECONDS: Final = 1.0
"""Seconds until a recheck ahead of time is tried again, if it failed."""

KNOWN_CONNECTIONS: Final = 40
"""Connections to an identity service for tokens that it accepted before."""

KNOWN: Final = Share(
    "questions about tokens", capacity=KNOWN_CONNECTIONS, each=16, waiting=1024, waiting_each=64, seconds=5.0
)
"""Questions about tokens that were accepted before, by principal."""

UNKNOWN: Final = Share(
    "questions about new tokens",
    capacity=MAX_CONNECTIONS - KNOWN_CONNECTIONS,
    each=8,
    waiting=1024,
    waiting_each=1024,
    seconds=5.0,
)
"""Questions about tokens that are not known, by address."""

KNOWN_KEYS: Final = Share("lookups of API keys", capacity=2, each=1, waiting=1024, waiting_each=64, seconds=5.0)
"""Lookups of API keys that were accepted before, by principal."""

UNKNOWN_KEYS: Final = Share("lookups of new API keys", capacity=2, each=1, waiting=1024, waiting_each=1024, seconds=5.0)
"""Lookups of API keys that are not known, by address."""

CHECKS: Final = Share("checks of new tokens", capacity=2, each=1, waiting=4096, waiting_each=1024, seconds=5.0)
"""Signatures that are checked in one turn of the event loop, by address; one takes up to 2 ms."""

WARNINGS: Final = 10
"""Warnings in a row about a service that can't be asked; after them there is one a second."""

MAX_CACHED_TOKENS: Final = 10_000
"""Signed tokens of one issuer whose check is remembered, with principals of at most `MAX_REMEMBERED_BYTES`."""
