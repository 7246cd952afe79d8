"""The lease of the ingestion of a file, while a process is at it."""

from __future__ import annotations

from dataclasses import replace

from server.api.vector_stores.work import Lease, WorkQueue
from server.http.held_lease import RenewedLease


class HeldLease(RenewedLease):
    """The lease of work that this process does; `lease` is its present state once `renewed` has ended."""

    def __init__(self, queue: WorkQueue, lease: Lease) -> None:
        super().__init__()
        self.lease = lease
        self._queue = queue

    def begin(self) -> None:
        """Note that the part may hold something from now on."""
        self.lease = replace(self.lease, has_begun=True)

    async def renew(self) -> None:
        """Have the lease hold again; raises Overtaken where it or its link is gone."""
        renewed = await self._queue.renew(self.lease)
        self.lease = replace(renewed, has_begun=self.lease.has_begun)
