"""Callers, as `ByToken` of `application.py` knows them: each is called, and has the role, that its token says."""

from __future__ import annotations


def bearer(name: str) -> str:
    """The header of whoever is called so."""
    return f"Authorization: Bearer {name}"


ALICE, BOB, READER, STRANGER, ADMIN = map(bearer, ("alice", "bob", "reader", "stranger", "admin"))

OWN = """\
        - forbid: {actions: [create]}
          when: user with reader in roles
        - permit: {actions: [read]}
          when: user with reader in roles
        - permit: {actions: [read, update, delete]}
          when: user is owner
        - permit: {actions: [create]}
"""
"""Rules of an `access_policy`: `reader` may read everything and change nothing, others have what they make."""
