"""An OPA that a test plays, and questions to it that are small or large."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from policy.vocabulary import Action, Origin, Principal, Resource
from server.authz.contract.question import Question
from server.authz.opa import room
from server.authz.pdp import PolicyDecisionPoint
from server.fairness.caller import CURRENT
from tests.support.broken_opa import Peer, decision, reply, scripted, transport_to

Json = dict[str, Any]
GROUPS = tuple(f"{number:036d}" for number in range(150))
SINGLE, MANY, LIST = "/decision/answer?", "/decision/answers?", "/filters/answer?"


def caller(name: str, groups: tuple[str, ...] = ()) -> Principal:
    return Principal(name, "i", {"teams": groups})


def about(principal: Principal, number: int = 0, owner: Principal | None = None) -> Question:
    return Question(principal, action=Action.READ, resource=Resource("prompt", (f"p{number}",), owner, Origin.CREATED))


def small(name: str) -> Question:
    return about(caller(name))


def large(name: str) -> Question:
    return about(caller(name, GROUPS))


class Opa:
    """A scripted OPA: `answers` says which exchanges it answers at once; the others it answers after `release`."""

    def __init__(self, answers: Callable[[str, Json], bool]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Json, int]] = []
        self.under_way = 0
        self.released = asyncio.Event()

    async def __call__(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _, body = (await peer.request(reader)).partition(b"\r\n\r\n")
            path, asked = head.decode().split()[1], json.loads(body)["input"]
            self.asked.append((path, asked, len(body)))
            if not self.answers(path, asked):
                self.under_way += 1
                await peer.change()
                gone = asyncio.create_task(reader.read(1))
                freed = asyncio.create_task(self.released.wait())
                await asyncio.wait([gone, freed], return_when=asyncio.FIRST_COMPLETED)
                self.under_way -= 1
                freed.cancel()
                if gone.done():
                    await peer.change()
                    return
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)
            writer.write(reply(json.dumps({"result": _result(path, asked)}, separators=(",", ":")).encode() + b"\n"))
            await writer.drain()

    def names(self, path: str) -> list[str]:
        """The callers of the exchanges at `path`, in their order."""
        return [_caller(asked) for found, asked, _ in self.asked if path in found]


def _caller(asked: Json) -> str:
    found = asked["principals"][0] if "principals" in asked else asked.get("questions", [asked])[0]["principal"]
    return str(found["id"]) if isinstance(found, dict) else ""


def _result(path: str, asked: Json) -> Any:
    if LIST in path:
        return {"contract": 1, "revision": "r1", "clauses": []}
    if MANY in path:
        return [_result("", {**one, "names": one["resource"]["names"]}) for one in asked["questions"]]
    if asked.get("action") == "probe":
        return {"contract": 1, "revision": "r1"}
    reason = asked["resource"]["names"][0]
    return {"contract": 1, "revision": "r1", "resource": decision(reason=reason)}


def is_small(path: str, asked: Json) -> bool:
    text = json.dumps(asked)
    return SINGLE in path and len(text) <= room.SMALL_BYTES and "aaa" not in text


def nothing(path: str, asked: Json) -> bool:
    return False


def everything(path: str, asked: Json) -> bool:
    return True


Scene = Callable[[PolicyDecisionPoint, Opa, Peer], Coroutine[Any, Any, None]]


def played(folder: Path, answers: Callable[[str, Json], bool], scene: Scene, deadline: float = 20.0) -> None:
    async def play() -> None:
        opa = Opa(answers)
        async with scripted(opa, folder / "s") as peer, transport_to(peer.address, deadline=deadline) as transport:
            await scene(PolicyDecisionPoint(transport, "r1"), opa, peer)

    asyncio.run(play())


def task(name: str, asking: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task of the caller `name`, as one of its requests would be."""

    async def ask() -> Any:
        CURRENT.set(("principal", "i", name))
        return await asking

    return asyncio.create_task(ask())
