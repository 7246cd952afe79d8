"""Prompts and their versions. A version never changes; of two that are made of the same one, the first is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from secrets import token_hex

from policy.vocabulary import Action
from server.api.prompts.body import MOST_KEPT
from server.authz.request_authorization import Gate
from server.storage.records.body import Body
from server.storage.records.guarded import Creation, GuardedStore
from server.storage.records.parts import RecordParts
from server.storage.records.record import Draft, Json, Record
from server.storage.records.usage import TooManyParts


@dataclass(frozen=True, slots=True)
class Wording:
    """The text of a version, and the names of the variables in it."""

    prompt: str
    variables: Sequence[str]

    @property
    def body(self) -> Json:
        """Return the wording as it is stored."""
        return {"prompt": self.prompt, "variables": [*self.variables]}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a prompt."""

    prompt_id: str
    number: int
    wording: Wording
    is_default: bool


class NotLatest(Exception):
    """A change is based on a version that is no longer the latest."""

    def __init__(self, latest: int) -> None:
        super().__init__(latest)
        self.latest = latest


class NoSuchVersion(Exception):
    """The prompt has no version of that number."""


def new_prompt_id() -> str:
    """Return an id that no other prompt has, and that cannot be guessed."""
    return f"pmpt_{token_hex(24)}"


class Prompts:
    """A prompt is one of `records`, which holds its default version too, so that a list needs no more; every version
    is in the annex.
    """

    def __init__(self, records: GuardedStore, versions: RecordParts) -> None:
        self.records = records
        self._versions = versions

    async def create(self, permit: Creation, identity: str, wording: Wording) -> Record:
        """Create a prompt with its first version, and return it."""
        return await self.records.create(
            permit,
            Draft(identity, {"latest": 1, "default": 1, **wording.body}),
            [self._versions.adding(identity, 1, wording.body, permit.owner)],
        )

    async def add(self, gate: Gate, identity: str, latest: int, wording: Wording, *, default: bool) -> Version:
        """Add the version behind `latest`, and return it; raises NotLatest, TooManyParts, and what
        `GuardedStore.update` raises.
        """
        number = latest + 1

        def change(record: Record) -> Record:
            if record.body["latest"] != latest:
                raise NotLatest(record.body["latest"])
            if number > MOST_KEPT:
                raise TooManyParts(MOST_KEPT)
            chosen = {"default": number, **wording.body} if default else {}
            return replace(record, body=Body.of({**record.body, "latest": number, **chosen}))

        await self.records.update(
            gate,
            identity,
            change,
            beside=lambda record: [self._versions.adding(identity, number, wording.body, record.owner)],
        )
        return Version(identity, number, wording, default)

    async def set_default(self, gate: Gate, identity: str, number: int) -> Version:
        """Make a version the default, and return it; raises NoSuchVersion, and what `GuardedStore.update` raises."""
        record = await self.records.permit(gate, identity, Action.UPDATE)
        wording = (await self.version(record, number)).wording
        await self.records.update(
            gate,
            identity,
            lambda current: replace(current, body=Body.of({**current.body, "default": number, **wording.body})),
        )
        return Version(identity, number, wording, is_default=True)

    async def version(self, record: Record, number: int) -> Version:
        """Return that version of a prompt; raises NoSuchVersion."""
        if number == record.body["default"]:
            return default_version(record)
        part = await self._versions.get(record, number)
        if part is None:
            raise NoSuchVersion
        return Version(record.id, number, Wording(**part), is_default=False)

    async def versions(self, record: Record, numbers: range, *, from_end: bool) -> list[tuple[int, Body]]:
        """Return the versions of a prompt that have these numbers, which follow each other upwards or downwards, each
        with the body of its wording.

        Of those that do not fit on a page, the last ones are left out, or with `from_end` the first ones.
        """
        if not numbers:
            return []
        after, is_down = numbers[0] - numbers.step, numbers.step < 0
        return await self._versions.page(record, len(numbers), after=after, newest_first=is_down, from_end=from_end)


def default_version(record: Record) -> Version:
    """Return the version that is shown if a query names none."""
    body = record.body
    return Version(record.id, body["default"], Wording(body["prompt"], body["variables"]), is_default=True)
