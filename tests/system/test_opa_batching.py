"""A real OPA under load: questions that share exchanges get exactly the answers that they get alone."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from policy.vocabulary import Action, Anonymous, Origin, Principal, Resource, Route
from server.authz.contract.question import Question
from server.authz.opa.transport import Entrypoint, OpaTransport
from tests.support.opa_server import world, write_bundle

ISSUER = "https://issuer.example"
TEXTS = ["llama", "secret", 'a"},{"contract":1', "日本", "\\", "x/y", "\u2028"]


def questions(seed: int, count: int) -> list[Question]:
    chance = random.Random(seed)  # noqa: S311 - an example, no secret

    def principal() -> Principal:
        return Principal(f"user-{chance.randrange(5)}", ISSUER, {"roles": ("admin", "dev")[: chance.randrange(3)]})

    def question() -> Question:
        caller = principal() if chance.random() < 0.9 else Anonymous()
        route = Route("GET", chance.choice(["/v1/models", "/v1/admin/x", "/other", "/v1/health"]))
        owner = principal() if chance.random() < 0.5 else None
        origin = Origin.CREATED if owner else Origin.CONFIG
        resource = Resource(chance.choice(["model", "prompt"]), (chance.choice(TEXTS), "second"), owner, origin)
        action = chance.choice(list(Action))
        return chance.choice(
            [
                Question(caller, route),
                Question(caller, None, action, resource),
                Question(caller, route, action, resource),
            ]
        )

    return [question() for _ in range(count)]


def test_together_as_alone(opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exchanges: Counter[Entrypoint] = Counter()
    exchange = OpaTransport.exchange

    async def counted(self: OpaTransport, body: bytes, entrypoint: Entrypoint = Entrypoint.DECISION) -> bytes:
        exchanges[entrypoint] += 1
        return await exchange(self, body, entrypoint)

    async def main() -> None:
        bundle = write_bundle(tmp_path / "bundle.tar.gz")
        async with world(opa_binary, tmp_path, bundle) as here:
            asked = questions(seed=5, count=400)
            alone = [await here.pdp.ask(question) for question in asked]
            monkeypatch.setattr(OpaTransport, "exchange", counted)
            for size in (5, 40):
                for start in range(0, len(asked), size):
                    together = await asyncio.gather(*map(here.pdp.ask, asked[start : start + size]))
                    assert together == alone[start : start + size]
            assert len({str(one) for one in alone}) > 20

    asyncio.run(main())
    assert exchanges[Entrypoint.DECISIONS] > 30
    assert exchanges.total() < 600
