"""Counts of the usage of models in this process, until they are written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from policy.vocabulary import Anonymous, Principal
from server.inference.answers.metered import Ending
from server.inference.provider import Tokens

DAY_SECONDS: Final = 24 * 3600

MOST_COUNTS: Final = 20_000
"""Counts that wait to be written; further principals count together, as `others`."""

MOST_COUNTS_EACH: Final = 500
"""Counts of one principal, with one set of attributes, that wait to be written; its further models count together."""

MOST_VARIANTS: Final = 4
"""Sets of attributes of one principal that are told apart between two writes; with further ones it is one of `others`.
"""

MOST_VALUES: Final = 200_000
"""Values of attributes that wait to be written; the principals that come then count as `others`."""

OTHERS: Final = "others"
ANONYMOUS: Final = "anonymous"
"""The names of the accounts of callers without a token, and of principals that found no room; neither has an owner."""


class UsedModel(NamedTuple):
    """A model by its canonical name; `is_configured` if the configuration defines it."""

    name: str
    provider_id: str
    is_configured: bool


@dataclass(slots=True)
class Spent:
    """A number of requests, those of them that failed or were cancelled, and the tokens of all.

    `total_tokens` are those that budgets charge, the others those that providers report.
    """

    requests: int = 0
    failed: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    total_tokens: int = 0

    def add(self, ending: Ending, used: int, tokens: Tokens | None) -> None:
        """Add one request; only its tokens if it counts with another model."""
        self.requests += ending is not Ending.REPLACED
        self.total_tokens += used
        if ending is Ending.FAILED:
            self.failed += 1
        elif ending is Ending.CANCELLED:
            self.cancelled += 1
        if tokens is not None:
            self.prompt_tokens += tokens.prompt
            self.completion_tokens += tokens.completion
            self.cached_tokens += tokens.cached


class Key(NamedTuple):
    """The key by which the requests of one account are told apart; `day` counts from 1970, in UTC."""

    day: int
    model: str
    provider_id: str


@dataclass(slots=True)
class Account:
    """The counts of a principal with the attributes that it had; None is a caller without a token."""

    name: str
    owner: Principal | None
    counts: dict[Key, Spent] = field(default_factory=dict)


class UsageTally:
    """Counts each request once, when it has ended; belongs to one event loop.

    `totals` are the counts since the start by provider and model, for metrics: models that the configuration doesn't
    define share one. `now` is in seconds since 1970.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._owned: dict[tuple[str, str], list[Account]] = {}
        self._shared: dict[str, Account] = {}
        self._size = 0
        self._values = 0
        self.totals: dict[tuple[str, str], Spent] = {}

    def count(
        self, caller: Principal | Anonymous, model: UsedModel, ending: Ending, used: int, tokens: Tokens | None
    ) -> None:
        """Count a request: `used` is the number of tokens that it is charged, `tokens` what its provider reports."""
        if ending is Ending.REPLACED and not used:
            return
        key = Key(int(self._now()) // DAY_SECONDS, model.name, model.provider_id)
        account = self._account(caller) if isinstance(caller, Principal) else self._common(ANONYMOUS)
        (account.counts.get(key) or self._added(account, key)).add(ending, used, tokens)
        shown = model.provider_id, model.name if model.is_configured else OTHERS
        total = self.totals.get(shown)
        if total is None:
            total = self.totals[shown] = Spent()
        total.add(ending, used, tokens)

    def take(self) -> list[Account]:
        """Return the accounts with what has been counted since the last call."""
        taken = [*self._shared.values(), *(account for accounts in self._owned.values() for account in accounts)]
        self._owned, self._shared, self._size, self._values = {}, {}, 0, 0
        return taken

    def _account(self, caller: Principal) -> Account:
        """Return the account for the attributes that the caller has now, or the common one if there is no room."""
        variants = self._owned.get((caller.issuer, caller.id), ())
        for account in variants:
            if account.owner is not None and account.owner.attributes == caller.attributes:
                return account
        values = sum(map(len, caller.attributes.values()))
        is_full = self._size >= MOST_COUNTS or self._values + values > MOST_VALUES
        if is_full or len(variants) >= MOST_VARIANTS:
            # Without some of its attributes it would escape a rule that forbids others to read it.
            return self._common(OTHERS)
        self._values += values
        made = Account(account_name(caller), caller)
        self._owned.setdefault((caller.issuer, caller.id), []).append(made)
        return made

    def _common(self, name: str) -> Account:
        account = self._shared.get(name)
        if account is None:
            account = self._shared[name] = Account(name, None)
        return account

    def _added(self, account: Account, key: Key) -> Spent:
        """Return a new count of the account, or one that is shared where there are too many."""
        if account.owner is not None and self._size >= MOST_COUNTS:
            account = self._common(OTHERS)
        if len(account.counts) >= MOST_COUNTS_EACH and key not in account.counts:
            key = key._replace(model=OTHERS)
        self._size += key not in account.counts
        return account.counts.setdefault(key, Spent())


def account_name(owner: Principal) -> str:
    """Return the name of a principal's usage in rules, `ISSUER::ID`, which no other principal has.

    A colon in the issuer that would look like the end of it is escaped as in URLs, and so is a percent sign.
    """
    issuer = owner.issuer.replace("%", "%25").replace("::", "%3A%3A")
    if issuer.endswith(":"):
        issuer = f"{issuer[:-1]}%3A"
    return f"{issuer}::{owner.id}"
