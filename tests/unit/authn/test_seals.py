"""Seals: they open for their caller until their end, and for nobody else."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.authn.seals import Seals, Unopened

ALICE, BOB = ("principal", "https://issuer.example", "alice"), ("principal", "https://issuer.example", "bob")
OLD, NEW = b"o" * 32, b"n" * 32
SEALS = Seals(lambda: [NEW])


@given(st.text(max_size=50))
def test_what_was_sealed_comes_back(text: str) -> None:
    seal = SEALS.sealed(ALICE, text, 100)
    assert SEALS.opened(ALICE, seal, 100) == text
    assert SEALS.sealed(ALICE, text, 100) != seal


@pytest.mark.parametrize(
    "caller",
    [BOB, ("principal", "https://issuer.exampl", "ealice"), ("address", "alice"), ("principal", "", "alice"), ()],
)
def test_a_seal_opens_for_its_caller_alone(caller: tuple[str, ...]) -> None:
    with pytest.raises(Unopened) as refusal:
        SEALS.opened(caller, SEALS.sealed(ALICE, "x", 100), 0)
    assert not refusal.value.expired


USES = ((), ("a",), ("a", "b"), ("ab",), ("", "ab"), ("a", ""))


@pytest.mark.parametrize("use", USES)
def test_a_seal_opens_for_its_use_alone(use: tuple[str, ...]) -> None:
    seal = SEALS.sealed(ALICE, "x", 100, use)
    assert SEALS.opened(ALICE, seal, 0, use) == "x"
    for other in {*USES} - {use}:
        with pytest.raises(Unopened):
            SEALS.opened(ALICE, seal, 0, other)
    # No caller's name runs into a use.
    with pytest.raises(Unopened):
        SEALS.opened(ALICE[:-1], SEALS.sealed(ALICE, "x", 100), 0, ALICE[-1:])


def test_a_seal_has_an_end_that_its_caller_alone_learns() -> None:
    seal = SEALS.sealed(ALICE, "x", 100)
    for caller, expired in ((ALICE, True), (BOB, False)):
        with pytest.raises(Unopened) as refusal:
            SEALS.opened(caller, seal, 101)
        assert refusal.value.expired is expired


def test_every_changed_byte_is_noticed() -> None:
    seal = SEALS.sealed(ALICE, "x", 100)
    raw = urlsafe_b64decode(seal.removeprefix("seal1."))
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        with pytest.raises(Unopened):
            SEALS.opened(ALICE, f"seal1.{urlsafe_b64encode(changed).decode()}", 0)


@pytest.mark.parametrize("text", ["x", "xx", "xxx"])
def test_a_seal_has_one_spelling(text: str) -> None:
    seal = SEALS.sealed(ALICE, text, 100)
    tail = seal.removeprefix("seal1.")
    others = [
        f"{seal}{tail}",
        f"{seal}=",
        f"{seal}\n",
        f" {seal}",
        tail,
        f"seal1.seal1.{tail}",
        f"seal1.!{tail}",
        f"{seal}AAAA",
    ]
    for other in others:
        with pytest.raises(Unopened):
            SEALS.opened(ALICE, other, 0)


@pytest.mark.parametrize("seal", ["", "x", "seal1.", "seal1.!", "seal1.ä", "seal2.AAAA", "seal1.AAAA"])
def test_what_is_no_seal_does_not_open(seal: str) -> None:
    with pytest.raises(Unopened):
        SEALS.opened(ALICE, seal, 0)


def test_the_first_key_seals_and_all_of_them_open() -> None:
    before, after = Seals(lambda: [OLD]), Seals(lambda: [NEW, OLD])
    assert after.opened(ALICE, before.sealed(ALICE, "x", 100), 0) == "x"
    with pytest.raises(Unopened):
        before.opened(ALICE, after.sealed(ALICE, "x", 100), 0)
