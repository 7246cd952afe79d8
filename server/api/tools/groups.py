"""Groups of tools as the policy knows them."""

from __future__ import annotations

from dataclasses import dataclass
from json import loads

from policy.vocabulary import Origin, Resource
from server.api.tools.registry import GROUP
from server.authz.request_authorization import Gate
from server.net.outbound import USUAL_PORTS, parsed
from server.storage.records.guarded import GuardedStore
from server.storage.records.record import Record

TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Group:
    """A group: its name in rules and its owner in `resource`, its provider, and the address of its server, if any."""

    resource: Resource
    provider_id: str | None
    url: str | None

    @property
    def name(self) -> str:
        """The id of the group."""
        return self.resource.names[0]

    def tool(self, name: str) -> Resource:
        """Return a tool of the group, which has the owner and the origin of the group."""
        return Resource(TOOL, (f"{self.name}/{name}",), self.resource.owner, self.resource.origin)


def configured_group(name: str, provider_id: str, url: str | None) -> Group:
    """Return a group of the configuration."""
    return Group(Resource(GROUP, (name,), None, Origin.CONFIG), provider_id, url)


def group_of(record: Record) -> Group:
    """Return the group of a record; of its `args`, which may be thousands of values, nothing is kept."""
    stored = loads(record.body.text)
    endpoint = stored["described"]["mcp_endpoint"]
    url = None if endpoint is None else endpoint["uri"]
    resource = Resource(GROUP, (record.id,), record.owner, record.origin)
    return Group(resource, stored["provider_id"], url)


def host_group(url: str) -> Resource:
    """Return the group that the host of an address is, with its port unless that is the usual one.

    Not the path, which may be a secret and would stand in the log of decisions. A host that is reached is one that the
    configuration lists. Raises Unreachable.
    """
    found = parsed(url)
    port = found.explicit_port
    usual = port is None or port == USUAL_PORTS[found.scheme]
    host = found.host or ""
    return Resource(GROUP, (host if usual else f"{host}:{port}",), origin=Origin.CONFIG)


class Groups:
    """Finds the groups that callers may read."""

    def __init__(self, store: GuardedStore) -> None:
        self.store = store

    async def named(self, gate: Gate, identity: str) -> Group:
        """Return the group of that id; raises NotFound."""
        return group_of(await self.store.get(gate, identity))
