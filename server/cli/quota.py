"""The commands `ostiary quota …`: what a caller has used of its quota, and a new start for it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from policy.issuers import Issuers, read_issuers
from policy.source.diagnostics import Findings, visible
from policy.source.document import Mapping, read_document
from policy.vocabulary import Anonymous, Principal
from server.cli.configured import configured, told, translated

if TYPE_CHECKING:
    from server.quota.quota import Quota, Standing

app = typer.Typer(no_args_is_help=True, help="What a caller has used of its quota in this period.")

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration file of the server.")]
Id = Annotated[str | None, typer.Option("--principal", metavar="ID", help="The caller's id.")]
Issuer = Annotated[
    str | None, typer.Option(metavar="ISSUER", help="The caller's issuer; may be left out where there is one alone.")
]
Address = Annotated[str | None, typer.Option(metavar="IP", help="The address of callers without a token.")]


@dataclass(frozen=True, slots=True)
class _Asked:
    """The caller that a command is about, and the quota that it has."""

    quota: Quota
    caller: Principal | Anonymous
    address: str

    async def standing(self) -> Standing:
        async with self.quota.open():
            return await self.quota.standing(self.caller, self.address)

    async def reset(self) -> None:
        async with self.quota.open():
            await self.quota.reset(self.caller, self.address)


@app.command()
def show(
    config: Config,
    principal: Id = None,
    issuer: Issuer = None,
    address: Address = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the requests and tokens that a caller has used in this period."""
    with told():
        standing = asyncio.run(_asked(config, principal, issuer, address).standing())
    used, limit = standing.used, standing.limit
    if as_json:
        found = {
            "requests": {"used": used.requests, "limit": limit.requests},
            "tokens": {"used": used.tokens, "limit": limit.tokens},
            "resets_in_seconds": standing.resets_in,
        }
        sys.stdout.write(f"{json.dumps(found, indent=2)}\n")
        return
    sys.stdout.write(f"requests  {used.requests}{_of(limit.requests)}\n")
    sys.stdout.write(f"tokens    {used.tokens}{_of(limit.tokens)}\n")
    sys.stdout.write(
        f"the period ends in {standing.resets_in} s; `server.quota.limits` may give a caller other limits\n"
    )


@app.command()
def reset(config: Config, principal: Id = None, issuer: Issuer = None, address: Address = None) -> None:
    """Give a caller its whole quota of this period again."""
    with told():
        asyncio.run(_asked(config, principal, issuer, address).reset())
    sys.stdout.write("the caller has its whole quota of this period again\n")


def _of(limit: int | None) -> str:
    return "" if limit is None else f" of {limit}"


def _asked(path: Path, principal: str | None, issuer: str | None, address: str | None) -> _Asked:
    """Return what a command is about; raises InvalidDocument, and ValueError with a sentence."""
    from server.net.client_address import ClientAddresses
    from server.wiring.quotas import build_quota

    config = configured(path)
    if (principal is None) is (address is None):
        raise ValueError("name one caller: `--principal ID`, or `--address IP` for callers without a token")
    quota = build_quota(config)
    if quota is None:
        raise ValueError(f"`{visible(str(path))}` has no `server.quota`, so nothing is counted")
    if principal is None:
        shown = ClientAddresses(()).shown(address or "")
        if shown == ClientAddresses(()).shown(""):
            raise ValueError(f"`--address {visible(address or '')}` is no address like `192.0.2.1` or `2001:db8::1`")
        return _Asked(quota, Anonymous(), shown)
    return _Asked(quota, Principal(principal, _issuer(path, issuer)), "")


def _issuer(path: Path, issuer: str | None) -> str:
    """Return the issuer of a principal, which is another principal with each issuer."""
    issuers = _issuers(path)
    found = issuers.sole if issuer is None else issuers.named(issuer)
    if found is None and issuer is not None and (issuers.uncertain or not issuers.names):
        found = issuer
    if found is None:
        names = ", ".join(f"`{visible(name)}`" for name in issuers.names)
        raise ValueError(f"name the caller's issuer with `--issuer`{f', one of {names}' if names else ''}")
    return found


def _issuers(path: Path) -> Issuers:
    auth = translated(read_document(path), Findings())
    for key in ("server", "auth"):
        entry = auth.entries.get(key)
        if entry is None or not isinstance(entry.node, Mapping):
            return Issuers()
        auth = entry.node
    return read_issuers(auth, os.environ)
