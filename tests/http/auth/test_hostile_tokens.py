"""Hostile tokens over HTTP: real keys, a real issuer and a real OPA (cases 9 to 16 of the threat model)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from server.authn import oauth2
from server.authn.jwks import REREAD_SECONDS, REREADINGS
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from server.net import http_client
from server.wiring.authenticators import authenticator
from tests.support.identity_services import service
from tests.support.real_policy import Decided, decided, read
from tests.support.token_attacks import ATTACKS, World
from tests.support.token_issuers import AUDIENCE, ISSUER, NOW, Signer, answer, claims, jwk_set, key_server
from tests.support.token_server import CONFIG, UNUSED, Clock, Issued, issuing


@pytest.fixture(scope="module")
def world() -> World:
    return World(Signer.rsa("rsa-1"), Signer.ec("ec-1"), Signer.rsa("rsa-2"))


@pytest.fixture(scope="module")
def issued(world: World, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issued]:
    with issuing(world, opa_binary, tmp_path_factory.mktemp("issued")) as found:
        yield found


def test_cases_9_to_11_every_forged_or_odd_token_is_401_and_quoted_nowhere(issued: Issued) -> None:
    assert issued.status(issued.world.rsa.token()) == 200
    tried = 0
    for name, (make, _) in ATTACKS.items():
        token = make(issued.world)
        # Others can't be sent: a header holds printable ASCII, and no more than the edge takes.
        if token and len(token) < 30_000 and all("!" <= letter <= "~" for letter in token):
            issued.clock.seconds += REREAD_SECONDS  # so that no other one's unknown key makes it 503
            refused = issued.running.address.get("/v1/models", f"Authorization: Bearer {token}")
            assert refused.status == 401, name
            assert refused.error["code"] == "invalid_api_key", name
            assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"', name
            assert not [part for part in token.split(".") if len(part) > 8 and part in refused.body.decode()], name
            tried += 1
    assert tried > 100
    assert 1 < len(issued.keys.requests) < 20, "only unknown keys have the keys read again"
    assert issued.status(issued.world.rsa.token()) == 200


def test_case_10_no_address_in_a_token_is_ever_asked(issued: Issued) -> None:
    attacker = issued.world.attacker
    with service(lambda asked: (200, {"keys": [attacker.jwk(kid="rsa-1")]})) as trap:
        for header in (
            {"jku": f"{trap.url}/jwks"},
            {"x5u": f"{trap.url}/cert"},
            {"kid": f"{trap.url}/jwks"},
            {"jwk": attacker.jwk(kid="rsa-1"), "jku": trap.url},
            {"iss": trap.url},
        ):
            for kid in ("rsa-1", "rsa-2"):
                issued.clock.seconds += REREAD_SECONDS
                assert issued.status(attacker.token(**{"kid": kid, **header})) == 401
                assert issued.status(attacker.token(claims(iss=trap.url), **{"kid": kid, **header})) == 401
        assert trap.asked == []


def test_case_12_a_key_that_is_removed_mid_traffic_ends_and_the_others_go_on(
    world: World, opa_binary: Path, tmp_path: Path
) -> None:
    with issuing(world, opa_binary, tmp_path) as issued, ThreadPoolExecutor(8) as many:
        removed, kept = world.rsa.token(), world.ec.token()
        stop = threading.Event()

        def traffic(token: str) -> list[int]:
            found = []
            while not stop.is_set():
                found.append(issued.status(token))
            return found

        under_way = [many.submit(traffic, token) for token in [removed, kept] * 3]
        assert (issued.status(removed), issued.status(kept)) == (200, 200)
        issued.keys.content = jwk_set(world.ec)
        assert issued.status(removed) == 200
        issued.clock.seconds += 600
        assert issued.status(removed) == 401
        assert issued.status(kept) == 200
        stop.set()
        found = [task.result() for task in under_way]
        for before_and_after in found[::2]:
            # 200s, and from some moment on 401s: nothing else, and never back.
            assert sorted(before_and_after) == before_and_after
            assert set(before_and_after) <= {200, 401}
        assert {status for statuses in found[1::2] for status in statuses} == {200}
        assert len(issued.keys.requests) <= 3


def a_gigabyte(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(1024**3))
    handler.end_headers()
    for _ in range(1024):
        handler.wfile.write(b" " * 1024**2)
    raise AssertionError("all of it was read")


def test_case_12_an_endpoint_gone_bad_is_outlived_and_never_believed(
    world: World, opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "TIMEOUT_SECONDS", 0.5)
    metadata: list[str] = []
    with (
        service(lambda asked: (metadata.append(asked.target), {"keys": [world.attacker.jwk()]})) as trap,
        issuing(world, opa_binary, tmp_path) as issued,
    ):
        good, forged = world.rsa.token(), world.attacker.token()
        bad: list[Any] = [
            a_gigabyte,
            lambda handler: answer(handler, 500, b"{}"),
            lambda handler: answer(handler, 302, b"", Location=f"{trap.url}/latest/meta-data"),
            lambda handler: answer(handler, 302, b"", Location="http://169.254.169.254/latest/meta-data"),
            lambda handler: answer(handler, 200, b"<html>"),
            issued.keys.publish_when_released,
        ]
        # Nobody was ever identified: there is nothing to fall back on.
        issued.keys.behaviour = bad[1]
        refused = issued.running.address.get("/v1/models", f"Authorization: Bearer {good}")
        assert (refused.status, refused.error["code"]) == (503, "identity_unavailable")
        assert refused.headers["retry-after"] == "1"
        issued.keys.behaviour = issued.keys.publish
        issued.clock.seconds += 10
        assert issued.status(good) == 200
        for behaviour in bad:
            issued.keys.behaviour = behaviour
            issued.clock.seconds += 700
            before = len(issued.keys.requests)
            # Nobody can tell whether the forged one's key exists by now.
            assert (issued.status(good), issued.status(forged)) == (200, 503)
            assert len(issued.keys.requests) > before
        assert (trap.asked, metadata) == ([], [])
        # Only for a day, and then nobody is let in on keys that nobody confirms.
        issued.clock.seconds += 24 * 3600
        assert issued.status(good) == 503


def test_case_13_a_flood_of_unknown_keys_from_100_clients_reads_the_keys_a_few_times(
    world: World, opa_binary: Path, tmp_path: Path
) -> None:
    with issuing(world, opa_binary, tmp_path) as issued, ThreadPoolExecutor(100) as many:
        assert issued.status(world.rsa.token()) == 200
        flood = [world.attacker.token(kid=f"unknown-{number}") for number in range(300)]
        assert set(many.map(issued.status, flood)) <= {401, 503}
        assert len(issued.keys.requests) <= 1 + REREADINGS
        assert issued.status(world.rsa.token()) == 200


def test_case_14_a_token_counts_in_its_one_place_and_form_alone(issued: Issued) -> None:
    token, address = issued.world.rsa.token(), issued.running.address
    assert address.get("/v1/models", f"authorization: bearer {token}").status == 200
    for target in (f"?access_token={token}", f"?token={token}", f"?api_key={token}&authorization=Bearer%20{token}"):
        assert address.get(f"/v1/models{target}").status == 401
    for lines, status in (
        ([f"Cookie: access_token={token}; authorization=Bearer {token}"], 401),
        ([f"Authorization: {token}"], 401),
        ([f"Authorization: Basic {token}"], 401),
        ([f"Authorization: Bearer  {token}"], 401),
        ([f"Authorization: Bearer\t{token}"], 401),
        ([f"Authorization: Bearer {token} x"], 401),
        ([f"Authorization: Bearer {token},Bearer {token}"], 401),
        ([f"Authorization: Bearer {token}", f"Authorization: Bearer {token}"], 400),
        ([f"Authorization: Bearer {token}", "authorization: Basic x"], 400),
        ([f"Proxy-Authorization: Bearer {token}"], 401),
        ([f"X-Api-Key: {token}", f"Api-Key: {token}"], 401),
        ([f"X-Forwarded-Authorization: Bearer {token}", "X-Remote-User: admin"], 401),
    ):
        assert address.get("/v1/models", *lines).status == status, lines


def current(**changes: Any) -> dict[str, Any]:
    """Claims that are good now."""
    now = int(time.time())
    return claims(**({"iat": now, "nbf": now, "exp": now + 600} | changes))


@contextmanager
def two_issuers(world: World, opa: Path, folder: Path) -> Iterator[Decided]:
    """A server that trusts two issuers, only the first of which may say who has which role."""
    with key_server() as one, key_server() as other:
        one.content, other.content = jwk_set(world.rsa), jwk_set(world.attacker)
        provider = (
            "{type: oauth2_token, issuers: ["
            f"{{issuer: 'https://one.example', audience: ostiary, jwks: {{uri: '{one.url}'}}, "
            "claims_mapping: {groups: roles}}, "
            f"{{issuer: 'https://other.example', audience: ostiary, jwks: {{uri: '{other.url}'}}, "
            "claims_mapping: {groups: teams}}]}"
        )
        text = CONFIG.replace("PROVIDER", provider).replace("FOLDER", str(folder))
        with decided(text, opa, folder, authenticator=authenticator(read(text).server.auth)) as running:
            yield running


def test_cases_15_and_16_two_issuers_share_no_subject_no_role_and_no_record(
    world: World, opa_binary: Path, tmp_path: Path
) -> None:
    with two_issuers(world, opa_binary, tmp_path) as running:
        admin = {"sub": "alice", "groups": ["admin"]}
        of_one = f"Authorization: Bearer {world.rsa.token(current(iss='https://one.example', **admin))}"
        of_other = f"Authorization: Bearer {world.attacker.token(current(iss='https://other.example', **admin))}"

        def seen(who: str) -> list[str]:
            return sorted(model["id"] for model in running.address.get("/v1/models", who).json["data"])

        assert seen(of_one) == ["echo/open", "echo/secret"]
        # Whatever it calls its groups, an issuer gives no role that its mapping doesn't.
        assert seen(of_other) == ["echo/open"]
        made = running.address.post("/v1/conversations", {}, of_one)
        assert made.status == 200, made.body
        place = f"/v1/conversations/{made.json['id']}"
        assert running.address.get(place, of_one).status == 200
        missing = running.address.get(f"/v1/conversations/conv_{'0' * len(made.json['id'][5:])}", of_other)
        refused = running.address.get(place, of_other)
        assert (refused.status, missing.status) == (404, 404)
        # An issuer can't speak for another, nor one that nobody has named.
        for signer, name in ((world.attacker, "https://one.example"), (world.rsa, "https://other.example")):
            forged = f"Authorization: Bearer {signer.token(current(iss=name, **admin))}"
            assert running.address.get(place, forged).status == 401
        for name in ("https://third.example", "https://one.example/", ["https://one.example"], None):
            unknown = f"Authorization: Bearer {world.rsa.token(current(iss=name, **admin))}"
            assert running.address.get(place, unknown).status == 401


@pytest.mark.parametrize(
    ("groups", "status"),
    [
        ([f"{number:x}" for number in range(1_100)], 401),
        ({"admin": True}, 200),
        ([["admin"]], 401),
        (["admin", None], 401),
        (["admin", 5, True], 200),
        (["admin\n"], 401),
        ("x" * 2_000, 401),
        (None, 200),
        ([], 200),
        ("staff admin", 200),
    ],
)
def test_case_16_odd_claims_are_bounded_and_never_guessed(issued: Issued, groups: Any, status: int) -> None:
    token = issued.world.rsa.token(claims(groups=groups))
    assert len(token) < 16_384
    assert issued.status(token) == status


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}},
        {"_claim_names": ["groups"]},
        {"hasgroups": True},
    ],
)
def test_case_16_groups_that_are_elsewhere_are_not_no_groups(issued: Issued, elsewhere: dict[str, Any]) -> None:
    assert issued.status(issued.world.rsa.token(claims(**elsewhere))) == 401
    assert issued.status(issued.world.rsa.token(claims(_claim_names={"address": "src1"}))) == 200


def test_case_16_ten_thousand_groups_do_not_fit_into_a_token(issued: Issued) -> None:
    token = issued.world.rsa.token(claims(groups=[f"{number:x}" for number in range(10_000)]))
    refused = issued.running.address.get("/v1/models", f"Authorization: Bearer {token}")
    assert refused.status in (400, 401, 431)


def test_a_token_that_was_good_is_not_good_beyond_its_end(
    world: World, opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = [float(NOW)]
    with key_server() as keys:
        keys.content = jwk_set(world.rsa)
        settings = OAuth2Settings(keys.url, issuer=ISSUER, audience=AUDIENCE)
        identity = OAuth2Authenticator(settings, now=lambda: moment[0])
        verified: list[str] = []
        verify = oauth2.verify
        monkeypatch.setattr(oauth2, "verify", lambda token, *rest: (verified.append(token), verify(token, *rest))[1])
        text = CONFIG.replace("PROVIDER", UNUSED).replace("FOLDER", str(tmp_path))
        with decided(text, opa_binary, tmp_path, authenticator=identity) as running:
            issued = Issued(running, keys, world, Clock())
            token = world.rsa.token(claims(exp=NOW + 600))
            assert [issued.status(token) for _ in range(3)] == [200] * 3
            assert len(verified) == 1
            moment[0] += 661
            assert issued.status(token) == 401
