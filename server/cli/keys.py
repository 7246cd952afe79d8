"""The commands `ostiary key …`: API keys for the authentication provider `api_key`."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from server.config.home import home

if TYPE_CHECKING:
    from server.authn.key_store import ApiKey, KeyStore

app = typer.Typer(no_args_is_help=True, help="API keys for the authentication provider `api_key`.")

_FAILED: Final = 2
_UNITS: Final = {"m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([mhdw])")

Keys = Annotated[
    Path | None, typer.Option("--keys", help="The file of keys, as in `provider_config.db_path`; else the user's own.")
]
Values = Annotated[list[str] | None, typer.Option(help="May be repeated.")]


@app.command()
def create(
    principal: Annotated[str, typer.Option(help="Whom the key is for.")],
    role: Values = None,
    team: Values = None,
    project: Values = None,
    namespace: Values = None,
    expires: Annotated[
        str, typer.Option(help="After how long (`90d`, `12h`, `30m`, `4w`), on which day (`2027-01-31`), or `never`.")
    ] = "90d",
    keys: Keys = None,
) -> None:
    """Make a key and print it; it can't be shown again."""
    given = {"roles": role, "teams": team, "projects": project, "namespaces": namespace}
    with _store(keys) as store:
        attributes = {name: tuple(values) for name, values in given.items() if values}
        sys.stdout.write(f"{store.create(principal, attributes, _end(expires))}\n")


@app.command("list")
def list_keys(keys: Keys = None) -> None:
    """List the keys: id, principal, attributes, when each was made and when it ends; never a secret."""
    with _store(keys) as store:
        rows = [("ID", "PRINCIPAL", "ATTRIBUTES", "CREATED", "STATE"), *map(_row, store.all())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")


@app.command()
def revoke(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The key's id: the middle part of the key.")],
    keys: Keys = None,
) -> None:
    """End a key; servers notice within the provider's `recheck_period`."""
    with _store(keys) as store:
        if not store.revoke(identity):
            raise ValueError(f"there is no key `{identity}`; `ostiary key list` shows those that there are")


@contextmanager
def _store(path: Path | None) -> Iterator[KeyStore]:
    """Yield the store, with each failure reported as one sentence."""
    from server.authn.key_store import KEYS_FILE, KeyStore, KeyStoreUnusable

    try:
        yield KeyStore(home() / KEYS_FILE if path is None else path.expanduser())
    except (KeyStoreUnusable, ValueError) as failure:
        sys.stderr.write(f"error: {failure}\n")
        raise typer.Exit(_FAILED) from None


def _end(expires: str) -> int | None:
    """Return the expiry of a key, in seconds since 1970; raise ValueError with a sentence for a malformed one."""
    if expires == "never":
        return None
    duration = _DURATION.fullmatch(expires)
    if duration is not None:
        return int(time.time()) + int(duration[1]) * _UNITS[duration[2]]
    try:
        return int(datetime.strptime(expires, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ValueError(f"`{expires}` is not a time like `90d`, `12h`, `2027-01-31` or `never`") from None


def _row(key: ApiKey) -> Sequence[str]:
    attributes = " ".join(f"{name}={','.join(values)}" for name, values in key.attributes.items())
    if key.revoked_at is not None:
        state = f"revoked {_day(key.revoked_at)}"
    elif key.expires_at is None:
        state = "never ends"
    else:
        state = f"{'ends' if key.is_good(time.time()) else 'ended'} {_day(key.expires_at)}"
    return key.id, key.principal, attributes or "-", _day(key.created_at), state


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")
