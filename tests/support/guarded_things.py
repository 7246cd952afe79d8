"""A guarded store of things, and the callers whom its policy tells apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from policy.vocabulary import Principal, Route
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.authz.request_authorization import Gate
from server.authz.request_context import RequestContext
from server.storage.records.guarded import GuardedStore
from server.storage.records.record import Draft, Record
from server.storage.records.table import RecordTable

KIND = "sql_record::things"
POLICY = """
    version: 2
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        access_policy:
        - permit: {actions: [read], resource: "regex:sql_record::things::.*[02468]$"}
          when: user with even in roles
        - forbid: {actions: [create]}
          when: user with reader in roles
        - permit: {actions: [read]}
          when: user with reader in roles
        - permit: {actions: [create, read, update, delete]}
          when: user is owner
"""
ANN, BEN = Principal("ann", "a", {"teams": ("ml",)}), Principal("ben", "a")
READER, EVEN = Principal("reader", "a", {"roles": ("reader",)}), Principal("even", "a", {"roles": ("even",)})


@dataclass(frozen=True)
class World:
    """A store of things, and who decides about them."""

    things: GuardedStore
    records: RecordTable
    pep: PolicyEnforcementPoint
    pdp: PolicyDecisionPoint

    def gate(self, caller: Principal = ANN) -> Gate:
        """The gate of a new request."""
        return Gate(self.pep, RequestContext("req_1", caller), Route("GET", "/v1/things"), requires_token=False)

    async def add(self, identity: str, caller: Principal = ANN, **body: str) -> Record:
        """A new thing of the caller's."""
        return await self.things.create(await self.things.permit_create(self.gate(caller)), Draft(identity, body))


Work = Callable[[World], Awaitable[None]]
