"""Refusals of requests about vector stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from server.api.vector_stores.attaching import NotReadable, NotServed
from server.api.vector_stores.store_record import StoreExpired
from server.http.errors import ApiError, invalid
from server.http.pagination import missing_reference
from server.storage.records.usage import TooManyParts


def store_expired(identity: str) -> ApiError:
    """Return the 400 for a store whose life is over."""
    sentence = f"the vector store `{identity}` has expired; make another one, or give it a later end by `expires_after`"
    return invalid(sentence, code="vector_store_expired")


def defined_by_configuration(identity: str) -> ApiError:
    """Return the 409 for the removal of a store that the next start would make again."""
    sentence = f"the vector store `{identity}` is defined by the configuration; remove it there"
    headers = {"x-should-retry": "false"}
    return ApiError(HTTPStatus.CONFLICT, sentence, code="defined_by_configuration", headers=headers)


@contextmanager
def attaching(place: Callable[[int], str], member: str) -> Iterator[None]:
    """Turn what keeps files from being attached into its answer.

    `place` is the JSON path of the id of a file, by its number among those of the body, and `member` that of all.
    """
    try:
        yield
    except NotReadable as fault:
        raise missing_reference(place(fault.index), fault.identity) from None
    except NotServed:
        sentence = "this server takes no files into vector stores, since its `apis` leave `vector_io` out"
        raise invalid(sentence, member, "vector_io_not_served") from None
    except StoreExpired as fault:
        raise store_expired(fault.identity) from None
    except TooManyParts as fault:
        sentence = f"a vector store has at most {fault.most} files; detach some, or make another vector store"
        raise invalid(sentence, member, "too_many_files") from None
