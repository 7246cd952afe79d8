"""`ostiary run` with each kind of authentication provider, against a real server of its kind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from tests.support.identity_services import Asked, Service, private_ca, service
from tests.support.ostiary_run import OPEN, Running, environment, refusal, running, written
from tests.support.patience import PATIENCE
from tests.support.token_issuers import Signer, claims, jwk_set

POLICY = """\
    access_policy:
      - permit: {actions: [read], resource: "model::m"}
        when: WHEN
"""
ISSUER = "https://kubernetes.default.svc"
ACCOUNT = "system:serviceaccount:my-namespace:my-serviceaccount"
DOWN = (500, {})


@dataclass
class Peer:
    """A service that vouches for one token, and how a server is told about it.

    `when` is a condition that only holds if the attributes came through as they should; `asks` if a lost service
    means that nobody can be identified.
    """

    config: str
    when: str
    token: str
    service: Service | None = None
    asks: bool = True


@contextmanager
def signed(folder: Path, environ: dict[str, str]) -> Iterator[Peer]:
    """C15: keys behind a private CA and a bearer token, as a cluster publishes them."""
    signer, (ca_file, context) = Signer.rsa(), private_ca(folder / "ca")

    def cluster(asked: Asked) -> tuple[int, Any]:
        if (asked.target, asked.headers.get("authorization")) != ("/openid/v1/jwks", "Bearer jwks-token"):
            return 401, {}
        return 200, jwk_set(signer)

    now = int(time.time())
    groups = {"groups": ["ml-team", "system:authenticated"]}
    said = claims(iss=ISSUER, aud=[ISSUER], sub=ACCOUNT, iat=now, nbf=now, exp=now + 600, **groups)
    environ["TOKEN"] = "jwks-token"
    with service(cluster, context) as api:
        config = f"""\
      type: "oauth2_token"
      jwks:
        uri: "{api.url}/openid/v1/jwks"
        token: "${{env.TOKEN:+}}"
        key_recheck_period: 3600
      tls_cafile: "{ca_file}"
      issuer: "{ISSUER}"
      audience: "{ISSUER}"
"""
        when = f"[user with {ACCOUNT} in roles, user with ml-team in teams]"
        yield Peer(config, when, signer.token(said), api, asks=False)


@contextmanager
def introspected(folder: Path, environ: dict[str, str]) -> Iterator[Peer]:
    """An issuer that is asked about tokens which say nothing themselves."""

    def issuer(asked: Asked) -> tuple[int, Any]:
        good = parse_qs(asked.body.decode())["token"] == ["opaque"]
        said = {"active": True, "sub": "user-1", "aud": "ostiary", "roles": ["developer"], "exp": 4_000_000_000}
        return 200, said if good else {"active": False}

    environ["CLIENT_SECRET"] = "client-secret"
    with service(issuer) as endpoint:
        config = f"""\
      type: oauth2_token
      issuer: https://sso.example.com
      audience: ostiary
      introspection: {{url: "{endpoint.url}/introspect", client_id: ostiary, client_secret: "${{env.CLIENT_SECRET}}"}}
"""
        yield Peer(config, "user with developer in roles", "opaque", endpoint)


@contextmanager
def reviewed(folder: Path, environ: dict[str, str]) -> Iterator[Peer]:
    """C16: a Kubernetes API server with the printed mapping."""
    ca_file, context = private_ca(folder / "ca")

    def cluster(asked: Asked) -> tuple[int, Any]:
        if asked.headers["authorization"] != "Bearer sa-token":
            return 401, {"kind": "Status"}
        user = {"username": ACCOUNT, "uid": "u-1", "groups": ["system:serviceaccounts"]}
        return 201, {"kind": "SelfSubjectReview", "status": {"userInfo": user}}

    with service(cluster, context) as api:
        config = f"""\
      type: "kubernetes"
      api_server_url: "{api.url}"
      claims_mapping:
        username: "roles"
        groups: "roles"
        uid: "uid_attr"
      verify_tls: true
      tls_cafile: "{ca_file}"
"""
        when = f"[user with {ACCOUNT} in roles, user with system:serviceaccounts in roles, user with u-1 in uid_attr]"
        yield Peer(config, when, "sa-token", api)


@contextmanager
def of_github(folder: Path, environ: dict[str, str]) -> Iterator[Peer]:
    """C17: a GitHub Enterprise server."""

    def github(asked: Asked) -> tuple[int, Any]:
        if asked.headers["authorization"] != "Bearer ghp_token":
            return 401, {"message": "Bad credentials"}
        return 200, {"login": "user-1", "id": 1} if asked.target == "/api/v3/user" else [{"login": "our-org"}]

    with service(github) as api:
        config = f'      type: "github_token"\n      github_api_base_url: "{api.url}/api/v3"\n'
        yield Peer(config, "[user with user-1 in roles, user with our-org in teams]", "ghp_token", api)


@contextmanager
def judged(folder: Path, environ: dict[str, str]) -> Iterator[Peer]:
    """C18: an endpoint of the operator's own, with the printed answer."""

    def endpoint(asked: Asked) -> tuple[int, Any]:
        if b'"api_key":"custom-token"' not in asked.body:
            return 401, {"message": "no"}
        return 200, {"access_attributes": {"roles": ["admin", "user"], "namespaces": ["research"]}, "message": "fine"}

    with service(endpoint) as own:
        config = f'      type: "custom"\n      endpoint: "{own.url}/validate"\n'
        yield Peer(config, "[user with admin in roles, user with research in namespaces]", "custom-token", own)


@contextmanager
def with_keys(folder: Path, environ: dict[str, str]) -> Iterator[Peer]:
    """A key that the command line has made."""
    made = subprocess.run(
        [sys.executable, "-m", "server.cli.main", "key", "create", "--principal", "ci", "--role", "developer"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    yield Peer("      type: api_key\n", "user with developer in roles", made.stdout.strip(), asks=False)


KINDS: dict[str, Callable[[Path, dict[str, str]], Any]] = {
    "c15-jwks": signed,
    "introspection": introspected,
    "c16-kubernetes": reviewed,
    "c17-github": of_github,
    "c18-custom": judged,
    "api-key": with_keys,
}


@pytest.fixture
def environ(tmp_path: Path, opa_binary: Path) -> dict[str, str]:
    return environment(tmp_path, opa_binary)


def ask(server: Running, path: str, token: str | None = None) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{server.address}{path}", headers=headers, timeout=PATIENCE)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_provider_identifies_its_callers(kind: str, tmp_path: Path, environ: dict[str, str]) -> None:
    with KINDS[kind](tmp_path, environ) as peer:
        config = written(
            tmp_path, f"{OPEN}  auth:\n    provider_config:\n{peer.config}{POLICY.replace('WHEN', peer.when)}"
        )
        with running(config, environ) as server:
            assert "AUTHENTICATION IS OFF" not in server.banner
            assert [model["id"] for model in ask(server, "/v1/models", peer.token).json()["data"]] == ["echo/m"]
            ready = ask(server, "/v1/health/ready", peer.token)
            assert (ready.status_code, ready.json()["authentication"]) == (200, "configured")
            for refused in (ask(server, "/v1/models"), ask(server, "/v1/models", f"{peer.token}x")):
                assert refused.status_code == 401
            if peer.service is not None:
                peer.service.reply = lambda asked: DOWN
                lost = ask(server, "/v1/models", "never-seen")
                assert lost.status_code == (503 if peer.asks else 401)
                # Who is known stays known for a while.
                assert ask(server, "/v1/models", peer.token).status_code == 200
            secrets = [peer.token, "jwks-token", "client-secret"]
            seen = server.banner + (tmp_path / "decisions.jsonl").read_text()
            assert not [secret for secret in secrets if secret in seen]


CONDITIONAL = """\
  auth:
    provider_config:
      type: ${env.AUTH_PROVIDER:+oauth2_token}
      audience: "llama-stack"
      jwks:
        uri: ${env.KEYCLOAK_URL}/realms/llamastack/protocol/openid-connect/certs
      issuer: ${env.KEYCLOAK_URL}/realms/llamastack
    route_policy:
      - permit: {paths: /v1/models}
        when: user with admin in roles
      - permit: {paths: [/v1/health*, /v1/providers]}
"""


def test_c14_unset_the_printed_file_runs_without_authentication_and_says_so_loudly(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with running(written(tmp_path, OPEN + CONDITIONAL), environ) as server:
        assert "!! AUTHENTICATION IS OFF" in server.banner
        assert "`${env.AUTH_PROVIDER:+oauth2_token}` is nothing in this environment" in server.banner
        assert ask(server, "/v1/health/ready").json()["authentication"] == "off"
        assert ask(server, "/v1/providers").status_code == 200
        # Route rules stay in force; those with conditions are skipped, and a token is nobody's.
        assert ask(server, "/v1/models").status_code == 403
        assert ask(server, "/v1/models", "whatever").status_code == 403


def test_c14_set_the_printed_file_asks_for_tokens_of_that_issuer(tmp_path: Path, environ: dict[str, str]) -> None:
    signer, now = Signer.rsa(), int(time.time())
    with service(lambda asked: (200, jwk_set(signer))) as keycloak:
        environ |= {"AUTH_PROVIDER": "yes", "KEYCLOAK_URL": keycloak.url}
        with running(written(tmp_path, OPEN + CONDITIONAL), environ) as server:
            assert "AUTHENTICATION IS OFF" not in server.banner
            said = {"aud": "llama-stack", "iat": now, "nbf": now, "exp": now + 600, "roles": ["admin"]}
            good = signer.token(claims(iss=f"{keycloak.url}/realms/llamastack", **said))
            assert ask(server, "/v1/models", good).status_code == 200
            assert ask(server, "/v1/models").status_code == 401
            foreign = signer.token(claims(iss=f"{keycloak.url}/realms/other", **said))
            assert ask(server, "/v1/models", foreign).status_code == 401
        (asked,) = keycloak.asked
        assert asked.target == "/realms/llamastack/protocol/openid-connect/certs"


def test_c14_set_without_its_variables_is_a_mistake_and_required_but_unset_too(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    config = written(tmp_path, OPEN + CONDITIONAL)
    assert "the environment lacks `KEYCLOAK_URL`" in refusal(config, environ | {"AUTH_PROVIDER": "yes"})
    config = written(tmp_path, OPEN + CONDITIONAL.replace("  auth:\n", "  auth:\n    require: true\n"))
    said = refusal(config, environ)
    assert "`require` asks for authentication, and no provider is configured" in said


def test_q2_a_custom_provider_and_a_share_for_each_principal_whichever_process_answers(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    def endpoint(asked: Asked) -> tuple[int, Any]:
        return 200, {
            "principal": "alice" if b'"api_key":"alice' in asked.body else "bob",
            "attributes": {"roles": ["x"]},
        }

    with service(endpoint) as own:
        text = f"""\
{OPEN}  auth:
    provider_config:
      type: custom
      endpoint: {own.url}/validate
  quota:
    kvstore:
      type: sqlite
      db_path: {tmp_path}/quotas.db
    anonymous_max_requests: 100
    authenticated_max_requests: 10
    period: day
"""
        with running(written(tmp_path, text), environ, "--workers", "2") as server:
            # Each request on a connection of its own, and with a token of its own.
            found = [ask(server, "/v1/models", f"alice-{number}").status_code for number in range(12)]
            assert found == [200] * 10 + [429] * 2
            assert ask(server, "/v1/models", "bob").headers["x-ratelimit-remaining-requests"] == "9"
            assert ask(server, "/v1/health").status_code == 200
