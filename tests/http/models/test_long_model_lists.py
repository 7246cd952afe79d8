"""Lists of more models than one question to OPA holds: none is lost, none is shown that may not be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.authz.pdp import MOST_TOGETHER
from tests.support.application import ByToken
from tests.support.real_policy import decided

ALICE, ADMIN = "Authorization: Bearer alice", "Authorization: Bearer admin"
CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        access_policy:
        - forbid: {actions: [read], resource: "regex:model::.*[37]$"}
          unless: user with admin in roles
        - permit: {actions: [read]}
    models:
"""


@pytest.mark.parametrize("count", [MOST_TOGETHER - 1, MOST_TOGETHER, MOST_TOGETHER + 1, 2 * MOST_TOGETHER + 1])
def test_every_readable_model_of_many_is_listed(count: int, opa_binary: Path, tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(count)]
    models = "".join(f"    - {{model_id: {name}, provider_id: echo}}\n" for name in names)
    with decided(CONFIG + models, opa_binary, tmp_path, authenticator=ByToken()) as running:
        for caller, readable in ((ADMIN, names), (ALICE, [name for name in names if name[-1] not in "37"])):
            answer = running.address.get("/v1/models", caller)
            assert answer.status == 200
            assert [model["id"] for model in answer.json["data"]] == [f"echo/{name}" for name in readable]
