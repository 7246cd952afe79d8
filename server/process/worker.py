"""The program of a worker, one of several processes that serve one port; `server.process.supervisor` starts it."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import sys

import uvloop

from server.net.log_filter import log_to_stderr
from server.process.serving import serve_http
from server.process.startup import start_failure
from server.process.supervisor import CANT_START, READY
from server.wiring import decisions
from server.wiring.policy_engine import Plan


async def serve_worker(plan: Plan, listener: socket.socket, parent: socket.socket) -> None:
    """Serve until SIGTERM; end at once if the parent is gone, since only it can stop or replace this process."""
    asyncio.get_running_loop().add_reader(parent, os._exit, 1)
    telemetry = decisions.measured(plan.config)

    def announce() -> None:
        parent.send(READY)

    async with decisions.open_enforcement(plan, telemetry) as (pep, probe):
        await serve_http(plan, pep, probe, telemetry, listener, announce)


def main() -> None:
    """Take the order from the parent and carry it out; both sockets are inherited."""
    parent, listener = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a certificate to read again, if there ever is
    log_to_stderr(with_process=True)
    with parent, listener, parent.makefile("rb") as orders:
        plan: Plan = pickle.load(orders)  # noqa: S301 - from our own parent, over a socket that has no name
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve_worker(plan, listener, parent))
        except Exception as fault:
            sentence = start_failure(fault)
            if sentence is None:
                raise
            sys.stderr.write(f"error: {sentence}\n")
            sys.exit(CANT_START)


if __name__ == "__main__":
    main()
