"""Keys are dear to make: one set for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.token_issuers import KeyServer, Signer, key_server


@pytest.fixture(scope="session")
def rsa_signer() -> Signer:
    return Signer.rsa("rsa-1")


@pytest.fixture(scope="session")
def second_signer() -> Signer:
    """Another RSA key: the next one of the issuer, or an attacker's."""
    return Signer.rsa("rsa-2")


@pytest.fixture(scope="session")
def ec_signer() -> Signer:
    return Signer.ec("ec-1")


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as running:
        yield running
