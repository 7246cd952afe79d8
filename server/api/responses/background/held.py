"""The lease of a response that this process answers, and what it changes of the response in the meantime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from server.api.responses.background.kept_events import MOST_EVENT_BYTES, MOST_EVENTS, Batch
from server.api.responses.background.later import LaterResponses
from server.api.responses.background.queue import Lease
from server.api.responses.state import State
from server.api.responses.store import Filling, output_of
from server.authz.request_authorization import Gate
from server.http.held_lease import RenewedLease
from server.json_input.strict import Json
from server.quota.storage_limit import StorageLimit
from server.storage.records.record import Record


class HeldResponse(RenewedLease):
    """The lease of the work on `record`.

    `has_asked` once a provider or a tool may have been asked by this process, `is_done` once the response is over, and
    `fault` is why its end could not be stored. `look` is called with each renewal. `usage` is what the answers so far
    have cost; of a response with events that is known once it is over.
    """

    def __init__(self, later: LaterResponses, lease: Lease, record: Record) -> None:
        super().__init__()
        self.lease = lease
        self.record = record
        self.has_asked = False
        self.is_done = False
        self.fault: Exception | None = None
        self.usage: Json | None = None
        self.look: Callable[[], Awaitable[None]] | None = None
        self._later = later

    def lose(self) -> None:
        """Interrupt the work with LeaseLost, unless it is done."""
        if not self.is_done:
            super().lose()

    async def renew(self) -> None:
        """Have the lease hold again; raises Overtaken where it or the response is gone."""
        if self.is_done:
            return
        step, renewed = self._later.queue.renewing(self.lease)
        await self._later.queue.records.database.write(step)
        self.lease = renewed
        if self.look is not None:
            await self.look()

    @property
    def is_full(self) -> bool:
        """True when as many events are stored as may be."""
        return self.lease.number > MOST_EVENTS or self.lease.stored > MOST_EVENT_BYTES

    async def begin(self) -> None:
        """Note that providers and tools may be asked from now on; raises Overtaken."""
        async with self.lock:
            if not self.lease.has_begun:
                self.lease, self.record = await self._later.begin(self.lease, self.record)

    async def asking(self) -> None:
        """Note that a provider or a tool is asked now; raises Overtaken."""
        await self.begin()
        self.has_asked = True

    async def add(self, text: bytes, limit: StorageLimit | None) -> None:
        """Store events of the response's stream before they go out; raises as `LaterResponses.add_events` does."""
        async with self.lock:
            batch = Batch.of_stream(text, self.lease.number)
            self.lease = await self._later.add_events(self.lease, self.record, batch, limit)

    async def pass_on(self, gate: Gate, state: State) -> None:
        """Store the output of a response without events as far as it has come; raises as `LaterResponses.pass_on`
        does.
        """
        self.usage = state.usage
        output = output_of({"output": state.output()})
        limit = gate.storage_limit_of(self.record.owner)
        async with self.lock:
            self.lease = await self._later.pass_on(self.lease, self.record, output, limit)

    async def finish(self, gate: Gate, filling: Filling | None, state: State, events: Sequence[Json]) -> None:
        """Store the end of the response, and fill its conversation if it is complete; raises as
        `LaterResponses.finish` does.
        """
        shown, self.usage = state.response(whole=True), state.usage
        if state.status != "completed":
            filling = None
        elif filling is not None:
            filling = Filling(filling.creation, filling.conversation, filling.items + output_of(shown))
        limit = gate.storage_limit_of(self.record.owner)
        async with self.lock:
            try:
                await self._later.finish(self.lease, self.record, shown, events, filling, limit)
            except Exception as fault:
                self.fault = fault
                raise
            self.is_done, self.fault = True, None

    async def conclude(self, status: str, error: Json | None) -> None:
        """End the response for another reason than its answer; raises Overtaken."""
        async with self.lock:
            await self._later.conclude(self.lease, self.record, status, error, self.usage)
            self.is_done = True

    async def pause(self, seconds: int) -> None:
        """Let any process take the work up in so many seconds, since nothing was asked; raises Overtaken."""
        async with self.lock:
            step = self._later.queue.pausing(replace(self.lease, has_begun=False), seconds)
            await self._later.queue.records.database.write(step)
            self.is_done = True
