"""The cost of authenticating and counting a caller: `python -m bench.identity` prints one line for each.

Measured in this process only, without a connection; `python -m bench` includes all of it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Final

from starlette.types import Scope

from bench.tokens import AUDIENCE, ISSUER, make
from server.authn import AuthenticationFailed
from server.authn.caching import CachingAuthenticator, Validated
from server.authn.keys import parse_key_set
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from server.authn.token_rules import TokenRules
from server.authn.verify import verify
from server.quota.counters import Charge
from server.quota.sqlite import SqliteCounters

WRITERS: Final = 8
AT_ONCE: Final = 10_000

_TIMES: Final = 2_000
_REQUEST: Final[Scope] = {"path": "/v1/models", "query_string": b"", "headers": []}


class _RefusesAll:
    """A validator that refuses every token."""

    service: Final = "nobody"

    async def validate(self, token: str, request: Scope) -> Validated:
        """Raise `AuthenticationFailed`."""
        raise AuthenticationFailed("no")

    async def close(self) -> None:
        """Do nothing: no connection is open."""


async def measured(folder: Path) -> list[tuple[str, float, str]]:
    """Return each measurement: its name, its value, and the unit with its goal."""
    tokens = make(forgeries=64)
    (folder / "jwks.json").write_bytes(tokens.jwks)
    known = OAuth2Authenticator(OAuth2Settings((folder / "jwks.json").as_uri(), ISSUER, AUDIENCE))
    refused = CachingAuthenticator(_RefusesAll(), 60)
    rules, keys = TokenRules(ISSUER, AUDIENCE), parse_key_set(tokens.jwks)

    async def forged() -> None:
        try:
            await refused.authenticate(tokens.forged[0], _REQUEST)
        except AuthenticationFailed:
            return

    async def verified() -> None:
        verify(tokens.good[0], rules, keys, time.time())

    async def cached() -> None:
        await known.authenticate(tokens.good[0], _REQUEST)

    return [
        ("a token that is known", await _each(cached) * 1e6, "µs (≤ 20)"),
        ("verifying RS256", await _each(verified) * 1e3, "ms (≤ 0.25)"),
        ("a token that was refused, again", await _each(forged) * 1e6, "µs"),
        (f"a unit in SQLite, {WRITERS} writers, p50", await _unit(folder / "unit.db") * 1e3, "ms (≤ 0.3)"),
        (f"{AT_ONCE} takers of {AT_ONCE // 2} units at once, served", await _at_once(folder / "many.db"), "exactly"),
    ]


async def _each(once: Callable[[], Awaitable[None]]) -> float:
    """Return the seconds that one takes."""
    await once()
    began = time.perf_counter()
    for _ in range(_TIMES):
        await once()
    return (time.perf_counter() - began) / _TIMES


async def _unit(path: Path) -> float:
    """Return the median of the seconds for a unit."""
    counters, times = SqliteCounters(path), list[float]()

    async def writer(key: str) -> None:
        for _ in range(_TIMES // WRITERS):
            began = time.perf_counter()
            await counters.take(Charge(key, 0, 1, 0, 10**9, None))
            times.append(time.perf_counter() - began)

    await counters.start()
    await asyncio.gather(*(writer(f"caller-{number}") for number in range(WRITERS)))
    await counters.close()
    return median(times)


async def _at_once(path: Path) -> int:
    counters, most = SqliteCounters(path), AT_ONCE // 2
    await counters.start()
    taken = await asyncio.gather(*(counters.take(Charge("caller", 0, 1, 0, most, None)) for _ in range(AT_ONCE)))
    await counters.close()
    return sum(given for given, _ in taken)


def main() -> None:
    """Print the measurements."""
    with tempfile.TemporaryDirectory() as folder:
        for name, amount, unit in asyncio.run(measured(Path(folder))):
            sys.stdout.write(f"{name:<52} {amount:>9.3f} {unit}\n")


if __name__ == "__main__":
    main()
