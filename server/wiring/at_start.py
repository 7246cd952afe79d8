"""The sentences about stores that can't be opened at the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from socket import gaierror
from typing import Final

from server.config import Config
from server.config.storage import KvRedisBackend, PostgresBackend
from server.telemetry.dependencies import cause_of

_KINDS: Final = {
    "AuthenticationError": "the password is wrong, or missing",
    "InvalidAuthorizationSpecificationError": "the user is unknown, or not allowed to connect from here",
    "InvalidCatalogNameError": "it has no database of that name",
    "InvalidPasswordError": "the user or the password is wrong",
    "TimeoutError": "it gave no answer in time",
}
"""What the errors of drivers mean, by the names of their classes: no driver is imported where none is used."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a store in the configuration.

    `service` names a service with its address, which is None for a file; `remedy` says what to correct.
    """

    service: str | None
    remedy: str

    def sentence(self, fault: Exception) -> str:
        """Return the sentence about a store that fails so when it is opened, without credentials."""
        if self.service is None:
            return f"{fault}; {self.remedy}"
        return f"{self.service} can't be used: {_reason(fault)}; start it, or {self.remedy}"


def origin_of(config: Config, name: str | None) -> Origin:
    """Return the origin of a backend; None is the server's own file."""
    if name is None:
        return Origin(None, "mend it, or name another directory in `OSTIARY_HOME`")
    remedy = f"correct `storage.backends.{name}`"
    match config.storage.backends[name]:
        case PostgresBackend(host=host, port=port, db=db):
            return Origin(f"the database `{db}` of PostgreSQL at `{host}:{port}`", remedy)
        case KvRedisBackend(host=host, port=port):
            return Origin(f"Redis or Valkey at `{host}:{port}`", remedy)
    return Origin(None, remedy)


def _reason(fault: Exception) -> str:
    """Return why a service can't be used. A driver may put its own error around that of the system."""
    for error in _chain(fault):
        if type(error).__name__ in _KINDS:
            return _KINDS[type(error).__name__]
        if isinstance(error, gaierror):
            return "no address of its host is known"
        if isinstance(error, OSError) and error.errno:
            return cause_of(error)
    return cause_of(fault)


def _chain(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__ or fault.__context__
