"""Signatures of requests to AWS by botocore, with credentials of the configuration or of the machine.

This module imports botocore, which the extra `bedrock` installs: import it only where a request is to be signed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.session import Session

from server.inference.answers.model_name import QUICK
from server.inference.provider import Kind
from server.inference.providers.keys import Key
from server.inference.providers.refusals import broken

SIGNING_NAME: Final = "bedrock"

RENEWAL_SECONDS: Final = 30.0
"""Limit of the age of the machine's credentials, after which botocore is asked again; it renews them 10 minutes or more
before they expire.
"""

GOOD_SECONDS: Final = 300.0
"""Time in which credentials are used without waiting for newer ones; botocore gives out none that expire within it."""

FAILED_SECONDS: Final = 2.0
"""Limit of the time in which a failure to find credentials answers further requests."""

WAIT_SECONDS: Final = 15.0
"""Limit of the time in which a request waits for the machine's credentials."""

_DIGEST: Final = "X-Amz-Content-SHA256"

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one account, and the token of a session that goes with them."""

    identity: Key
    secret: Key
    token: Key | None = None

    async def now(self) -> ReadOnlyCredentials:
        """Return the keys as they are now."""
        token = None if self.token is None else await self.token.text()
        return ReadOnlyCredentials(await self.identity.text(), await self.secret.text(), token)


class AwsSignature:
    """Signs the requests of one provider for a region.

    Without `keys` those of the machine hold, as AWS's own tools find them: variables, the profile `profile`, files,
    a web identity, the container, the instance. botocore finds and renews them in a thread, one call at a time.
    """

    signs = True

    def __init__(self, provider_id: str, region: str, keys: Keys | None, profile: str | None = None) -> None:
        self._provider_id = provider_id
        self._region = region
        self._profile = profile
        self._own = keys
        self._source: Any = None
        self._known: ReadOnlyCredentials | None = None
        self._until = 0.0
        self._good_until = 0.0
        self._renewal: asyncio.Task[None] | None = None

    async def headers(self, url: str, body: bytes, digest: str = "") -> dict[str, str]:
        """Return the signed headers of a `POST` of JSON; raises ProviderFailed if there are no credentials."""
        credentials = await (self._of_machine() if self._own is None else self._own.now())
        if len(body) <= QUICK:
            return self._signed(url, body, digest, credentials)
        return await asyncio.to_thread(self._signed, url, body, digest, credentials)

    def _signed(self, url: str, body: bytes, digest: str, credentials: ReadOnlyCredentials) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if digest:
            headers[_DIGEST] = digest  # botocore takes it for that of the body
        request = AWSRequest("POST", url, headers, body)
        SigV4Auth(credentials, SIGNING_NAME, self._region).add_auth(request)
        return {name: str(value) for name, value in request.headers.items()}

    async def _of_machine(self) -> ReadOnlyCredentials:
        now = asyncio.get_running_loop().time()
        if now >= self._until and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self._renew())
        if now >= self._good_until and self._renewal is not None and not self._renewal.done():
            await asyncio.wait({self._renewal}, timeout=WAIT_SECONDS)
        if self._known is None:
            did = "can't be asked, since there are no credentials for it"
            raise broken(self._provider_id, did, spent=False, kind=Kind.UNREACHABLE)
        return self._known

    async def _renew(self) -> None:
        found, loop = None, asyncio.get_running_loop()
        try:
            found = await asyncio.to_thread(self._find)
        except Exception as fault:  # noqa: BLE001 - sources of credentials fail in ways of their own, programs among them
            # The text may hold an address or a part of a file.
            _log.warning("no credentials for the provider `%s`: %s", self._provider_id, type(fault).__name__)
        now = loop.time()
        self._until = now + (FAILED_SECONDS if found is None else RENEWAL_SECONDS)
        if found is not None:
            self._known, self._good_until = found, now + GOOD_SECONDS
        elif now >= self._good_until:
            self._known = None

    def _find(self) -> ReadOnlyCredentials | None:
        """Return what botocore finds; blocks."""
        if self._source is None:
            self._source = Session(profile=self._profile).get_credentials()
        return None if self._source is None else self._source.get_frozen_credentials()
