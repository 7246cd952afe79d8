"""Names of models of Bedrock, which stand in the path of a request: no name leads to another path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bedrock_stub import BEARER, REGION, bedrock, model_of
from tests.support.real_policy import read
from tests.support.relay_server import CHATS, configuration, serving_config


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.a-1", True),
        ("a?b=c", False),
        ("a#b", False),
        ("a%2Fb", False),
        ("../a", False),
        ("a b", False),
    ],
)
def test_a_model_is_one_segment_of_the_path_or_refused(name: str, is_one: bool, tmp_path: Path) -> None:
    with bedrock() as stub:
        settings = f"{{endpoint: '{stub.url}', api_key: {BEARER}}}"
        provider = f"{{provider_id: p, provider_type: remote::bedrock, config: {settings}}}"
        model = f'- {{model_id: odd, provider_id: p, provider_model_id: "{name}"}}'
        text = configuration(tmp_path, provider, model)
        with serving_config(read(text, {"AWS_REGION": REGION})) as (address, _telemetry):
            body = {"model": "p/odd", "messages": [{"role": "user", "content": "hi"}]}
            answer = address.post(CHATS, body, "Authorization: Bearer alice")
    assert answer.status == (200 if is_one else 400), answer.body
    assert [model_of(path) for path, _ in stub.asked] == ([name] if is_one else [])
