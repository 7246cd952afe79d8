"""Tokens as identity providers issue them, in the configurations of docs/operate/identity.md, and their principals.

Each file in `tokens/` was written by hand from the public documentation that it names. A row adds `claims` to those in
`base`, without those in `absent`, and signs them; `introspected` is an answer about an opaque token instead,
`reviewed` the `userInfo` of a SelfSubjectReview, `user` and `organizations` what GitHub answers. `exp`, `nbf` and `iat`
are seconds from now, `spelled` holds members as raw JSON. `mapping` replaces the documented one, null by the default.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from policy.vocabulary import Principal
from server.authn import AuthenticationFailed
from server.config import read_config
from server.wiring.authenticators import authenticator
from tests.support.identity_services import Asked, service
from tests.support.token_issuers import Signer, ask, jwk_set

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- issuer: (\S+) -->\n```yaml\n(.*?)```", re.DOTALL)
DOCUMENTED = dict(BLOCK.findall((ROOT / "docs/operate/identity.md").read_text("utf-8")))
TABLES = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in Path(__file__).with_name("tokens").iterdir()}
ROWS = [
    pytest.param(name, row, id=f"{name}: {row['shape']}")
    for name, table in sorted(TABLES.items())
    for row in table["rows"]
]
TOPICS = {"mapping", "elsewhere", "names", "values", "times"}
NO_TIMES = {"kubernetes-review", "github"}
OPAQUE = "an-opaque-token"


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer.rsa()


def members(table: dict[str, Any], row: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """What the row's token or answer says, its times as they are now."""
    said = {name: value for name, value in (table["base"] | changes).items() if name not in row.get("absent", [])}
    for name in ("exp", "nbf", "iat"):
        if isinstance(said.get(name), int | float):
            said[name] += int(time.time())
    for name, count in row.get("repeat", {}).items():
        said[name] = [f"{said[name][0]}-{number}" for number in range(count)]
    return said


def written(said: dict[str, Any], row: dict[str, Any]) -> bytes:
    """Its JSON, with the members that the row spells itself."""
    spelled = row.get("spelled", {})
    texts = {name: json.dumps(value) for name, value in said.items()} | {
        name: str(text) for name, text in spelled.items()
    }
    return ("{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in texts.items()) + "}").encode()


def answering(table: dict[str, Any], row: dict[str, Any], asked: Asked) -> tuple[int, Any]:
    """What the service of the row answers."""
    if "introspected" in row:
        return 200, written(members(table, row, row["introspected"]), row)
    if "reviewed" in row:
        user = members(table, row, row["reviewed"])
        return 201, {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "SelfSubjectReview",
            "status": {"userInfo": user},
        }
    if asked.target == "/user":
        return 200, members(table, row, row["user"])
    if "organizations" not in row:
        return 403, {"message": "Resource not accessible by personal access token"}
    return 200, [{"login": login, "id": 1} for login in row["organizations"]]


def configured(name: str, row: dict[str, Any], keys: Path, url: str) -> dict[str, Any]:
    """The documented configuration, with keys and services of this test."""
    config: dict[str, Any] = yaml.safe_load(DOCUMENTED[name])
    provider = config["server"]["auth"]["provider_config"]
    if "jwks" in provider:
        provider["jwks"]["uri"] = keys.as_uri()
    if "introspection" in provider:
        provider["introspection"] |= {"url": url, "client_secret": "secret"}
    for key in {"api_server_url", "github_api_base_url"} & provider.keys():
        provider[key] = url
    if "mapping" in row:
        provider["claims_mapping"] = row["mapping"]
    return config


def judged(name: str, row: dict[str, Any], signer: Signer, folder: Path) -> tuple[Principal, str]:
    """The principal whom the real authenticator finds, and the address of the service that it may have asked."""
    table, keys = TABLES[name], folder / "jwks.json"
    keys.write_bytes(jwk_set(signer))
    token = OPAQUE
    if not {"introspected", "reviewed", "user", "opaque"} & row.keys():
        header = table.get("header", {}) | row.get("header", {})
        token = signer.token(written(members(table, row, row.get("claims", {})), row), **header)

    async def asked(identity: Any) -> Principal:
        try:
            return await ask(identity, token)
        finally:
            await identity.close()

    with ExitStack() as stack:
        running = stack.enter_context(service(lambda question: answering(table, row, question)))
        findings = Findings()
        text = yaml.safe_dump(configured(name, row, keys, running.url), sort_keys=False)
        config = read_config(parse_document(text, "config.yaml"), {}, findings)
        assert config is not None, findings.diagnostics
        return asyncio.run(asked(authenticator(config.server.auth))), running.url


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_a_token_is_the_principal_of_its_row(name: str, row: dict[str, Any], signer: Signer, tmp_path: Path) -> None:
    if "refused" in row:
        with pytest.raises(AuthenticationFailed, match=re.escape(row["refused"])):
            judged(name, row, signer, tmp_path)
        return
    principal, url = judged(name, row, signer, tmp_path)
    base = TABLES[name]["base"]
    assert principal.id == row.get("id", base.get("sub"))
    assert principal.issuer == base.get("iss", url)
    if "counts" in row:
        assert {attribute: len(values) for attribute, values in principal.attributes.items()} == row["counts"]
    else:
        found = {attribute: list(values) for attribute, values in principal.attributes.items()}
        assert found == row["attributes"]


def test_every_documented_issuer_has_its_table_and_every_table_its_topics() -> None:
    assert TABLES.keys() == DOCUMENTED.keys()
    for name, table in TABLES.items():
        expected = TOPICS - {"times"} if name in NO_TIMES else TOPICS
        assert {row["about"] for row in table["rows"]} == expected, name
