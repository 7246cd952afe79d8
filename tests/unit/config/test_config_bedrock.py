"""The settings of `remote::bedrock`: its region and credentials, from the file or from the environment."""

from __future__ import annotations

import sys

import pytest

from server.config.bedrock import BedrockSettings
from tests.support.config_texts import errors, load


def text(config: str) -> str:
    return f"""\
        providers:
          inference:
          - provider_id: aws
            provider_type: remote::bedrock
            {config}
        """


def settings(config: str, **environ: str) -> BedrockSettings:
    [found] = load(text(config), **environ).providers["inference"]
    assert isinstance(found.config, BedrockSettings)
    return found.config


NO_REGION = "has no region; write `region` into `config`, or set `AWS_REGION` or `AWS_DEFAULT_REGION`"


@pytest.mark.parametrize(
    ("config", "environ", "region"),
    [
        ("config: {region: eu-west-1}", {"AWS_REGION": "us-east-1"}, "eu-west-1"),
        ("config: {region_name: us-gov-west-1}", {}, "us-gov-west-1"),
        ("config: {aws_region: eu-west-3}", {}, "eu-west-3"),
        ("config: {region: '${env.R:=}'}", {"AWS_REGION": "us-east-1"}, "us-east-1"),
        ("config: {region: '${env.R:+}'}", {"AWS_REGION": "us-east-1"}, "us-east-1"),
        ("config: {}", {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-2"}, "us-east-1"),
        ("", {"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2"),
    ],
)
def test_the_region_is_the_files_or_the_environments(config: str, environ: dict[str, str], region: str) -> None:
    found = settings(config, **environ)
    assert (found.region, found.address) == (region, f"https://bedrock-runtime.{region}.amazonaws.com")


def test_an_endpoint_replaces_the_regions_own_and_china_has_its_own_domain() -> None:
    for name in ("base_url", "url", "endpoint", "endpoint_url"):
        found = settings(f"config: {{{name}: https://vpce-1.example}}", AWS_REGION="us-east-1")
        assert found.address == "https://vpce-1.example"
    assert settings("", AWS_REGION="cn-north-1").address.endswith(".cn-north-1.amazonaws.com.cn")


@pytest.mark.parametrize(
    ("config", "environ", "fault"),
    [
        ("", {}, f"4:20: `remote::bedrock` {NO_REGION}"),
        ("config: {api_key: k}", {}, f"5:5: `remote::bedrock` {NO_REGION}"),
        (
            "config: {region: evil.example/}",
            {},
            "5:22: `region` takes a region of AWS such as `us-east-1`, not `evil.example/`",
        ),
        (
            "config: {}",
            {"AWS_REGION": "evil.example/"},
            "5:5: `region` takes a region of AWS such as `us-east-1`, not the value of `AWS_REGION`",
        ),
        (
            "config: {region: us-east-1, aws_access_key_id: a}",
            {},
            "5:52: `aws_access_key_id` needs `aws_secret_access_key` beside it; "
            "leave both out to use the machine's own",
        ),
        (
            "config: {region: us-east-1, aws_session_token: a}",
            {},
            "5:52: `aws_session_token` needs `aws_access_key_id` beside it; leave both out to use the machine's own",
        ),
        (
            "config: {region: us-east-1, api_key: k, profile_name: a}",
            {},
            "5:59: `api_key` and `profile_name` are two kinds of credentials; leave one of them out",
        ),
    ],
)
def test_wrong_settings_are_told_with_their_places(config: str, environ: dict[str, str], fault: str) -> None:
    assert errors(text(config), **environ) == [fault]


def test_a_bearer_key_comes_from_the_file_or_from_the_environment() -> None:
    environ = {"AWS_REGION": "us-east-1", "AWS_BEARER_TOKEN_BEDROCK": "from-environment"}
    key = settings("", **environ).key
    assert key is not None
    assert key.get_secret_value() == "from-environment"
    own = settings("config: {api_key: from-file}", **environ).key
    assert own is not None
    assert own.get_secret_value() == "from-file"
    keys = "{aws_access_key_id: a, aws_secret_access_key: b}"
    assert settings(f"config: {keys}", **environ).key is None


def test_without_the_extra_only_a_bearer_key_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    assert errors(text(""), AWS_REGION="us-east-1") == [
        "4:20: `remote::bedrock` signs its requests by the extra `bedrock`, which is not installed; "
        "install `ostiary[bedrock]`, or give an `api_key`"
    ]
    assert settings("config: {api_key: k}", AWS_REGION="us-east-1").key is not None


ARN = "arn:aws:bedrock:us-east-1:123456789012:guardrail/abc123"


@pytest.mark.parametrize(
    ("written", "identifier", "version"),
    [
        ("guardrail: {id: abc123, version: 1}", "abc123", "1"),
        ("guardrail: {identifier: abc123, version: DRAFT}", "abc123", "DRAFT"),
        (f"guardrail_config: {{guardrail_identifier: '{ARN}', guardrail_version: '12'}}", ARN, "12"),
        ("guardrailConfig: {guardrailIdentifier: '${env.G}', guardrailVersion: '${env.V}'}", "abc123", "3"),
    ],
)
def test_a_guardrail_has_an_id_and_a_version(written: str, identifier: str, version: str) -> None:
    found = settings(f"config: {{region: us-east-1, api_key: k, {written}}}", G="abc123", V="3").guardrail
    assert found is not None
    assert (found.identifier, found.version, found.allow_unread) == (identifier, version, False)


@pytest.mark.parametrize(
    "written",
    [
        "guardrail: ",
        "guardrail: ''",
        "guardrail: abc123",
        "guardrail: {}",
        "guardrail: {id: abc123}",
        "guardrail: {version: 1}",
        "guardrail: {id: '', version: 1}",
        "guardrail: {id: ABC, version: 1}",
        "guardrail: {id: abc123, version: 0}",
        "guardrail: {id: abc123, version: latest}",
        "guardrail: {id: abc123, version: 1, trace: enabled}",
        "guardrail: {id: '${env.G:=}', version: 1}",
        "guardrail: {id: '${env.G:+x}', version: 1}",
        "guardrail: '${env.G:=}'",
        "guardrail: {id: abc123, version: '${env.G:=}'}",
        "guardrail: {id: abc123, version: 1}, chat_api: openai",
        "guardrails: {id: abc123, version: 1}",
    ],
)
def test_half_a_guardrail_is_none_and_refused(written: str) -> None:
    assert len(errors(text(f"config: {{region: us-east-1, api_key: k, {written}}}"))) == 1
