"""`POST /v1/safety/run-shield` and `POST /v1/moderations`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from secrets import token_hex
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.safety.body import MODERATION, RUN
from server.api.safety.errors import shield_not_found, unnamed, unusable
from server.api.safety.results import moderation, violation
from server.api.safety.shields import KIND, Shields
from server.config.shield_params import BadParams
from server.fairness.places import leave_place
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.errors import invalid
from server.http.json_body import read_body
from server.http.request_state import gate_of
from server.http.responses import json_response
from server.json_input.reader import Reader
from server.safety.images import Image
from server.safety.running import UsableShield
from server.safety.shield import Direction, Said, Verdict, answer_in
from server.storage.records.guarded import NotFound

AT_ONCE: Final = 8
"""Texts of one request that are checked at the same time."""


class SafetyRoutes:
    """Runs shields for callers who may read them; each verdict is told, and a failure is never taken for one."""

    def __init__(self, shields: Shields, reader: Reader) -> None:
        self._shields = shields
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes that run shields."""
        asks, may_ask = [(Action.READ, KIND)], [(Action.READ, "model")]
        return [
            AskingRoute(
                "/v1/safety/run-shield",
                self.run,
                methods=["POST"],
                asks=asks,
                may_ask=may_ask,
                name="safety.run_shield",
            ),
            AskingRoute(
                "/v1/moderations",
                self.moderate,
                methods=["POST"],
                asks=asks,
                may_ask=may_ask,
                name="moderations.create",
            ),
        ]

    async def run(self, request: Request) -> Response:
        """Answer with what a shield has against a conversation, or null."""
        _, body = await read_body(request, self._reader, RUN)
        gate = gate_of(request.scope)
        try:
            shield = await self._shields.of(gate, body.shield_id)
        except NotFound:
            raise shield_not_found(body.shield_id, "shield_id") from None
        except BadParams as wrong:
            raise unusable(body.shield_id, wrong) from None
        _check_images(shield, body.images)
        said = [*_of_images(body.images), *(Said(*each) for each in body.said)]
        leave_place()  # a model that judges may take seconds
        async with WhileConnected(request.receive):
            verdict = await _verdict(shield, said)
        return json_response({"violation": violation(shield.running, verdict)})

    async def moderate(self, request: Request) -> Response:
        """Answer with one result for each text."""
        _, body = await read_body(request, self._reader, MODERATION)
        gate = gate_of(request.scope)
        name = body.model or self._shields.default
        if name is None:
            raise await unnamed(self._shields, gate, "model")
        try:
            shield = await self._shields.of_model(gate, name)
        except NotFound:
            raise shield_not_found(name, "model") from None
        except BadParams as wrong:
            raise unusable(name, wrong) from None
        _check_images(shield, body.images)
        leave_place()
        async with WhileConnected(request.receive):
            verdicts = await _all(shield, body.inputs, _of_images(body.images))
        results = [moderation(shield.running, verdict, seen=bool(body.images)) for verdict in verdicts]
        return json_response({"id": f"modr-{token_hex(16)}", "model": shield.running.identity, "results": results})


async def _verdict(shield: UsableShield, said: Sequence[Said]) -> Verdict:
    """Return the verdict on a conversation: on what a model has said at its end, and on all before as input."""
    if not any(each.text.strip() or each.image is not None for each in said):
        raise invalid("the messages hold no text", "messages", "invalid_value")
    check, answer = shield.running.check, answer_in(said)
    before = said[: len(said) - len(answer)]
    found = [await check(before, Direction.INPUT, shield.judges)] if before else []
    if answer and not (found and found[0].flagged):
        found.append(await check(said, Direction.OUTPUT, shield.judges))
    flagged = [verdict for verdict in found if verdict.flagged]
    masked = [verdict for verdict in found if verdict.masked is not None]
    if flagged or len(masked) < 2:
        return (flagged or masked or found[-1:])[0]
    given, made = (verdict.masked or () for verdict in masked)
    findings = tuple(dict.fromkeys(finding for verdict in masked for finding in verdict.findings))
    return Verdict(flagged=False, findings=findings, masked=(*given, *made[len(given) :]))


def _check_images(shield: UsableShield, images: Sequence[tuple[str, Image]]) -> None:
    """Raise the 400 for images where the shield reads texts alone."""
    if images and not shield.running.reads_images:
        place = images[0][0]
        sentence = f"`{place}` is an image, and the shield `{shield.running.identity}` reads texts alone"
        raise invalid(sentence, place, "unsupported_value")


def _of_images(images: Sequence[tuple[str, Image]]) -> list[Said]:
    return [Said("", image=image) for _, image in images]


async def _all(shield: UsableShield, texts: Sequence[str], images: Sequence[Said] = ()) -> list[Verdict]:
    """Return the verdict on each text, with the images, in their order; raises what the first failure raises."""
    verdicts: dict[int, Verdict] = {}
    waiting = iter(enumerate(texts))

    async def work() -> None:
        for number, text in waiting:
            verdicts[number] = await shield.running.check([*images, Said(text)], Direction.INPUT, shield.judges)
            await asyncio.sleep(0)  # a list of words has its verdict at once, and others have their turn

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(texts))):
                group.create_task(work())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [verdicts[number] for number in range(len(texts))]
