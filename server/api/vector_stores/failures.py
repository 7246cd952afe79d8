"""Failures of ingestion: the code and the sentence for the caller, and whether another attempt may help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from server.api.vector_stores.store_record import StoreExpired
from server.api.vector_stores.work import MOST_TAKEN
from server.authz.contract.errors import PolicyUnavailable
from server.authz.permit import AccessDenied, RouteDenied
from server.extraction.pieces import Code, Unreadable
from server.fairness.shares import NoRoom
from server.http.error_table import error_of
from server.http.errors import provider_error
from server.inference.attachments import NotSent
from server.inference.provider import Fault, ProviderFailed
from server.quota.counters import CountersUnavailable
from server.quota.quota import QuotaExceeded
from server.safety.running import ShieldUnavailable
from server.storage.blobs.store import BlobMissing, BlobsUnavailable
from server.storage.database.database import DatabaseUnavailable, Overlong
from server.storage.records.guarded import Contended, NotFound
from server.storage.vectors.index import IndexUnavailable

PROVIDER_TRIES: Final = 3
"""Attempts to ingest one file where the provider of the embedding model fails."""

LONGEST_PAUSE: Final = 30
"""Seconds before another attempt, at most; the first pause is a second, and each is twice as long as the one before."""

_OURS: Final = (
    PolicyUnavailable,
    CountersUnavailable,
    DatabaseUnavailable,
    Overlong,
    NoRoom,
    BlobsUnavailable,
    IndexUnavailable,
    Contended,
    ShieldUnavailable,
)
"""What ends by itself, and which no caller is to blame for."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The code and the sentence that a link shows, once `tries` attempts have been made."""

    code: Code
    message: str
    tries: int = 1

    def pause(self, tries: int) -> int | None:
        """Return the seconds before the next attempt after so many; None where there is no next one."""
        return None if tries >= self.tries else min(LONGEST_PAUSE, 2 ** (tries - 1))


def failure_of(fault: Exception, request_id: str) -> Failure:
    """Return what a fault means for the file that was to be ingested; one that is unknown is logged."""
    match fault:
        case Unreadable(code=code, message=message):
            return Failure(code, message)
        case NotFound(identity=identity):
            return Failure(Code.INVALID_FILE, f"there is no `{identity}`, or you have no access to it")
        case RouteDenied() | AccessDenied() | QuotaExceeded() | StoreExpired():
            return _refused(_refusal(fault))
        case ProviderFailed():
            may_heal = fault.fault is not Fault.REQUEST and not fault.hopeless
            return _refused(provider_error(fault).message, PROVIDER_TRIES if may_heal else 1)
        case NotSent(reason=reason):
            return failure_of(reason, request_id)
        case TimeoutError():
            return _refused("it took too long to ingest the file", PROVIDER_TRIES)
    is_ours = isinstance(fault, _OURS) and not isinstance(fault, BlobMissing)
    return _refused(error_of(fault, request_id).message, MOST_TAKEN if is_ours else 1)


def _refusal(fault: RouteDenied | AccessDenied | QuotaExceeded | StoreExpired) -> str:
    """Return the sentence of what the caller may not do, or not any more."""
    match fault:
        case RouteDenied(decision_id=decision):
            return f"the policy no longer lets you attach files here; decision `{decision}` refused it"
        case AccessDenied(decision_id=decision):
            return f"the policy does not let you change this vector store; decision `{decision}` refused it"
        case StoreExpired(identity=identity):
            return f"the vector store `{identity}` has expired; attach the file to another one"
        case QuotaExceeded(of_tokens=of_tokens, standing=standing):
            what = "tokens" if of_tokens else "requests"
            return f"your quota of {what} is used up; attach the file again in {standing.resets_in} s"


def _refused(message: str, tries: int = 1) -> Failure:
    return Failure(Code.SERVER_ERROR, message, tries)
