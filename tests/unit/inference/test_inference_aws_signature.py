"""Credentials of the machine for requests to AWS: found in a thread, kept while newer ones can't be had."""

from __future__ import annotations

import asyncio
import threading

import pytest
from botocore.credentials import ReadOnlyCredentials

from server.inference.provider import ProviderFailed
from server.inference.providers.bedrock import signature
from server.inference.providers.bedrock.signature import AwsSignature
from tests.support.patience import PATIENCE


class Scripted(AwsSignature):
    """Finds what the test says, once it is allowed to."""

    def __init__(self) -> None:
        super().__init__("p", "eu-west-1", None)
        self.found: ReadOnlyCredentials | Exception | None = None
        self.allowed = threading.Event()
        self.allowed.set()
        self.looks = 0

    def _find(self) -> ReadOnlyCredentials | None:
        self.looks += 1
        assert self.allowed.wait(PATIENCE)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    async def identity(self) -> str:
        """The key that a request is signed with."""
        proof = (await self.headers("https://b.example/model/m/converse", b"{}"))["Authorization"]
        return proof.partition("Credential=")[2].partition("/")[0]


def keys(identity: str) -> ReadOnlyCredentials:
    return ReadOnlyCredentials(identity, "secret", None)


@pytest.mark.parametrize("fault", [None, KeyError("AccessKeyId"), OSError("no"), ValueError("no")])
def test_without_credentials_a_request_fails_unspent_and_asks_again_later(
    fault: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Scripted()
    made.found = fault
    with asyncio.Runner() as runner:
        for _ in range(3):
            with pytest.raises(ProviderFailed, match="no credentials") as failed:
                runner.run(made.identity())
            assert not failed.value.spent
        assert made.looks == 1
        monkeypatch.setattr(signature, "FAILED_SECONDS", 0.0)
        made._until = 0.0
        made.found = keys("A")
        assert runner.run(made.identity()) == "A"


def test_known_credentials_are_used_while_newer_ones_are_slow_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signature, "RENEWAL_SECONDS", 0.0)
    monkeypatch.setattr(signature, "FAILED_SECONDS", 0.0)

    async def follow() -> None:
        made = Scripted()
        made.found = keys("A")
        assert await made.identity() == "A"
        made.allowed.clear()
        made.found = keys("B")
        looks = made.looks
        assert {await made.identity() for _ in range(50)} == {"A"}
        assert made.looks <= looks + 1
        made.allowed.set()
        assert made._renewal is not None
        await made._renewal
        assert await made.identity() == "B"
        made.found = OSError("no")
        for _ in range(3):
            assert await made.identity() == "B"
            await made._renewal
        # Once they may have expired, they are used no more.
        made._good_until = 0.0
        with pytest.raises(ProviderFailed):
            await made.identity()

    asyncio.run(follow())
