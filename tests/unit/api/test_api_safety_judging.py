"""Judges of registered shields: a caller may lose the right to read one while its answer is under way."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import pytest

from server.api.safety import judging
from server.api.safety.judging import CallersJudges
from server.http.errors import ApiError
from server.inference.provider import Task
from server.safety.shield import ShieldFailed


class Stops(Exception):
    """Raised in the place of asking a model."""


class Catalogue:
    """A catalogue that is asked for the provider of a model that was found."""

    def provider(self, _model: Any) -> Any:
        raise Stops


def test_a_model_that_may_no_longer_be_read_is_a_failure_of_the_shield(monkeypatch: pytest.MonkeyPatch) -> None:
    may_read = False

    async def find(*_: Any) -> Any:
        if not may_read:
            raise ApiError(HTTPStatus.NOT_FOUND, "the model `m` does not exist", code="model_not_found")
        return type("Model", (), {"alone": None})()

    monkeypatch.setattr(judging, "find_model", find)
    nothing: Any = None
    catalogue: Any = Catalogue()
    judges = CallersJudges(nothing, catalogue, nothing, asks_caller=True)
    with pytest.raises(ApiError):
        asyncio.run(judges.ask("m", Task.CHAT, {}))
    may_read = True
    with pytest.raises(Stops):
        asyncio.run(judges.ask("m", Task.CHAT, {}))
    may_read = False
    with pytest.raises(ShieldFailed, match="may no longer be asked"):
        asyncio.run(judges.ask("m", Task.CHAT, {}))
