"""A mapping that yields nothing shows: in the metrics, in the report of readiness and in one line of the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.wiring import decisions
from server.wiring.authenticators import authenticator
from tests.http.auth.test_hostile_tokens import current
from tests.support.metrics_page import measured
from tests.support.real_policy import Decided, decided, read
from tests.support.token_issuers import ISSUER, Signer, jwk_set
from tests.support.token_server import CONFIG

KEYCLOAK = {"realm_access": {"roles": ["canary-role"]}}
CLAIMS = "ostiary_token_claims_total"
BARE = "ostiary_tokens_without_attributes_total"


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer.rsa()


@contextmanager
def mapped(mapping: str, signer: Signer, opa: Path, folder: Path) -> Iterator[Decided]:
    (folder / "jwks.json").write_bytes(jwk_set(signer))
    provider = (
        f"{{type: oauth2_token, issuer: '{ISSUER}', audience: ostiary, jwks: {{uri: 'file://{folder}/jwks.json'}}"
    )
    # `/metrics` is there only where rules say who may see it.
    text = CONFIG.replace(
        "        access_policy:", '        route_policy: [permit: {paths: "*"}]\n        access_policy:'
    )
    text = text.replace("PROVIDER", provider + mapping + "}").replace("FOLDER", str(folder))
    config = read(text)
    telemetry = decisions.measured(config)
    identity = authenticator(config.server.auth, telemetry.tallies)
    with decided(text, opa, folder, authenticator=identity, telemetry=telemetry) as running:
        yield running


def bearer(signer: Signer, **claims: Any) -> str:
    return f"Authorization: Bearer {signer.token(current(**claims))}"


def test_a_stock_keycloak_token_without_a_mapping_is_seen(
    signer: Signer, opa_binary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "server.authn")
    with mapped("", signer, opa_binary, tmp_path) as running:
        who = bearer(signer, sub="canary-1", **KEYCLOAK)
        report = running.address.get("/v1/health/ready", who)
        missed = ["roles", "groups", "teams", "projects", "namespaces"]
        assert report.status == 200
        assert report.json["claims_never_found"] == [{"issuer": ISSUER, "claims": missed, "tokens": 1}]
        running.address.get("/v1/models", bearer(signer, sub="canary-2", **KEYCLOAK))
        page = measured(running.address, who)
        assert page.value(BARE, issuer=ISSUER) == 2
        for claim in missed:
            assert page.value(CLAIMS, issuer=ISSUER, claim=claim, found="no") == 2
            assert page.value(CLAIMS, issuer=ISSUER, claim=claim, found="yes") == 0
        # One of the default's claims is enough: no issuer has them all.
        with_roles = bearer(signer, sub="canary-3", roles=["canary-role"])
        assert running.address.get("/v1/health/ready", with_roles).json["claims_never_found"] == []
        assert measured(running.address, who).value(CLAIMS, claim="roles", found="yes") == 1
    lines = [record.getMessage() for record in caplog.records if "mapped claims" in record.getMessage()]
    assert len(lines) == 1
    assert f"`{ISSUER}`" in lines[0]
    assert "it has `realm_access.roles`, which is not mapped" in lines[0]
    assert "canary" not in caplog.text


def test_one_claim_of_a_mapping_that_no_token_has_is_seen(
    signer: Signer, opa_binary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "server.authn")
    mapping = ", claims_mapping: {realm_access.roles: roles, kubernetes.io.namespaces: namespaces, sub: users}"
    with mapped(mapping, signer, opa_binary, tmp_path) as running:
        report = running.address.get("/v1/health/ready", bearer(signer, **KEYCLOAK)).json
        missed = {"issuer": ISSUER, "claims": ["kubernetes.io.namespaces"], "tokens": 1}
        assert report["claims_never_found"] == [missed]
        found = bearer(signer, **{"kubernetes.io": {"namespaces": ["ml"]}})
        assert running.address.get("/v1/health/ready", found).json["claims_never_found"] == []
        refused = bearer(signer, _claim_names={"realm_access": "src1"})
        assert running.address.get("/v1/health/ready", refused).status == 401
        page = measured(running.address, found)
        assert page.value(CLAIMS, claim="realm_access.roles", found="yes") == 1
        assert page.value(CLAIMS, claim="realm_access.roles", found="no") == 1
        assert page.value(CLAIMS, claim="sub") == 0
        assert page.value(BARE) == 0
    assert "mapped claims" not in caplog.text


def test_a_caller_without_roles_is_no_warning_once_others_had_some(
    signer: Signer, opa_binary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "server.authn")
    with mapped(", claims_mapping: {groups: teams}", signer, opa_binary, tmp_path) as running:
        for groups in (["a"], [], None, ""):
            assert running.address.get("/v1/models", bearer(signer, groups=groups)).status == 200
        assert measured(running.address, bearer(signer)).value(BARE, issuer=ISSUER) == 4
    assert "mapped claims" not in caplog.text


def test_a_mapping_of_the_name_alone_misses_nothing(signer: Signer, opa_binary: Path, tmp_path: Path) -> None:
    with mapped(", claims_mapping: {sub: users}", signer, opa_binary, tmp_path) as running:
        who = bearer(signer)
        assert running.address.get("/v1/health/ready", who).json["claims_never_found"] == []
        assert measured(running.address, who).value(BARE) == 0
