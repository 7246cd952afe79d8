"""The examples of the specification about the server and its shields: C12, C13, K, Q, T, S."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy.source.diagnostics import quoted
from server.config import CorsConfig
from server.config.auth import CustomConfig
from server.config.providers import VllmSettings
from server.config.quota import CounterFile
from server.config.safety import BedrockShields
from server.config.shield_params import bedrock_params
from server.config.storage import KvPostgresBackend, KvRedisBackend, Namespace
from tests.support.config_texts import errors, load, with_provider, with_server

SPEC = Path(__file__).parent / "spec"


def tls_files(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.touch()
    key.touch()
    return certificate, key


def test_c12_tls_files_port_and_cors(tmp_path: Path) -> None:
    certificate, key = tls_files(tmp_path)
    server = load(with_server(f"port: 8321\ntls_certfile: {certificate}\ntls_keyfile: {key}\ncors: true")).server
    assert (server.port, server.tls_certfile, server.tls_keyfile, server.cors) == (8321, certificate, key, True)


def test_c12_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    certificate, _ = tls_files(tmp_path)
    missing = tmp_path / "none.pem"
    assert errors(with_server(f"tls_certfile: {certificate}\ntls_keyfile: {missing}")) == [
        f"3:16: `tls_keyfile` takes a file that can be read, not {quoted(str(missing))} (No such file or directory)"
    ]


def test_c12_half_a_pair_stops_the_start(tmp_path: Path) -> None:
    certificate, key = tls_files(tmp_path)
    assert errors(with_server(f"tls_certfile: {certificate}")) == [
        "2:17: `tls_certfile` needs `tls_keyfile` beside it; HTTPS takes both, HTTP neither"
    ]
    assert errors(with_server(f"tls_keyfile: {key}")) == [
        "2:16: `tls_keyfile` needs `tls_certfile` beside it; HTTPS takes both, HTTP neither"
    ]


def test_c13_cors_fields_as_listed_and_the_others_at_their_defaults() -> None:
    text = """
        server:
          cors:
            allow_origins: ["https://myapp.com", "https://app.example.com"]
            allow_methods: ["GET", "POST", "PUT", "DELETE"]
            allow_headers: ["Content-Type", "Authorization"]
            allow_credentials: true
            max_age: 3600
        """
    assert load(text).server.cors == CorsConfig(
        allow_origins=("https://myapp.com", "https://app.example.com"),
        allow_origin_regex=None,
        allow_methods=("GET", "POST", "PUT", "DELETE"),
        allow_headers=("Content-Type", "Authorization"),
        allow_credentials=True,
        expose_headers=(),
        max_age=3600,
    )


def test_k1_cors_true_is_the_switch_for_localhost() -> None:
    assert load(with_server("cors: true")).server.cors is True
    assert load(with_server("cors: false")).server.cors is False
    assert load("version: 2\n").server.cors is False


def test_k2_all_seven_fields_and_all_seven_defaults() -> None:
    assert load(with_server("cors: {}")).server.cors == CorsConfig(
        allow_origins=("*",),
        allow_origin_regex=None,
        allow_methods=("*",),
        allow_headers=("*",),
        allow_credentials=False,
        expose_headers=(),
        max_age=600,
    )
    text = r"""
        server:
          cors:
            allow_origins: ["https://myapp.com", "https://staging.myapp.com"]
            allow_credentials: true
            allow_methods: ["GET", "POST", "PUT", "DELETE"]
            allow_headers: ["Content-Type", "Authorization"]
            allow_origin_regex: "https://.*\\.example\\.com" # Optional regex pattern
            expose_headers: ["X-Total-Count"]
            max_age: 86400
        """
    cors = load(text).server.cors
    assert isinstance(cors, CorsConfig)
    assert cors.allow_origin_regex == r"https://.*\.example\.com"
    assert (cors.expose_headers, cors.max_age, cors.allow_credentials) == (("X-Total-Count",), 86400, True)


QUOTA = """
quota:
  kvstore:
    type: sqlite
    db_path: ./quotas.db
  anonymous_max_requests: 100
  authenticated_max_requests: 1000
  period: day
"""


def test_q1_a_quota_as_printed() -> None:
    quota = load(with_server(QUOTA)).server.quota
    assert quota is not None
    assert quota.kvstore == CounterFile(type="sqlite", db_path=Path("quotas.db"))
    assert (quota.anonymous_max_requests, quota.authenticated_max_requests, quota.period) == (100, 1000, "day")
    assert errors(with_server(QUOTA.replace("day", "week"))) == [
        "8:13: `period` can't be `week`; use one of `day`, `hour`, `minute`"
    ]
    assert errors(with_server(QUOTA.replace("type: sqlite", "type: redis"))) == [
        "4:13: `type` can't be `redis`; use `sqlite`, or `{backend: NAME, namespace: TEXT}` with one of"
        " `storage.backends`"
    ]


def test_q2_a_quota_with_a_custom_provider() -> None:
    auth = "auth:\n  provider_config:\n    type: custom\n    endpoint: https://auth.example.com/validate\n"
    server = load(with_server("port: 8321\n" + auth + QUOTA)).server
    assert isinstance(server.auth.provider_config, CustomConfig)
    assert server.quota is not None


@pytest.mark.parametrize(
    ("backend", "url"),
    [
        (
            "{type: kv_postgres, host: db.example, user: o/s, password: 'p@ss', db: d, ssl_mode: require}",
            "postgresql://o%2Fs:p%40ss@/d?host=db.example&port=5432&sslmode=require",
        ),
        ("{type: kv_redis, host: cache.example, password: 'p@ss', tls: true}", "rediss://:p%40ss@cache.example:6379"),
        ("{type: kv_redis, host: '::1'}", "redis://[::1]:6379"),
    ],
)
def test_a_quota_may_be_shared_by_several_servers(backend: str, url: str) -> None:
    quota = "quota: {kvstore: {backend: shared, namespace: quota}, anonymous_max_requests: 5, period: minute}"
    config = load(f"storage: {{backends: {{shared: {backend}}}}}\n" + with_server(quota))
    assert config.server.quota is not None
    assert config.server.quota.kvstore == Namespace(backend="shared", namespace="quota")
    found = config.storage.backends["shared"]
    assert isinstance(found, KvPostgresBackend | KvRedisBackend)
    assert found.url == url
    assert "p@ss" not in repr(config)


def test_a_quota_is_not_kept_in_a_table_or_nowhere() -> None:
    quota = with_server("quota: {kvstore: {backend: one, namespace: quota}}")
    assert errors("storage: {backends: {one: {type: sql_sqlite, db_path: a.db}}}\n" + quota) == [
        "3:30: the backend `one` is of type `sql_sqlite`; this store takes a backend whose type starts with `kv_`"
    ]
    assert errors(quota) == ["2:30: no backend is called `one`; add it under `storage.backends`"]


def test_t1_a_provider_may_name_its_own_ca_file(tmp_path: Path) -> None:
    certificate, _ = tls_files(tmp_path)
    text = "url: https://vllm.example.com\ntls_verify: {}"
    for written, meant in (("true", True), ("false", False), (str(certificate), certificate)):
        config = load(with_provider(text.format(written), "remote::vllm"))
        settings = config.providers["inference"][0].config
        assert isinstance(settings, VllmSettings)
        assert settings.tls_verify == meant


def test_s1_a_bedrock_shield_loads_as_printed() -> None:
    text = """\
        providers:
          safety:
          - provider_id: bedrock
            provider_type: remote::bedrock
            config:
              aws_access_key_id: ${env.AWS_ACCESS_KEY_ID}
              aws_secret_access_key: ${env.AWS_SECRET_ACCESS_KEY}
        shields:
        - provider_id: bedrock
          params:
            guardrailVersion: ${env.GUARDRAIL_VERSION}
          provider_shield_id: ${env.GUARDRAIL_ID}
        """
    environ = {
        "AWS_ACCESS_KEY_ID": "123456",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "GUARDRAIL_VERSION": "1",
        "GUARDRAIL_ID": "abc",
    }
    config = load(text, **environ, AWS_REGION="eu-west-1")
    [shield] = config.shields
    assert (shield.identity, shield.resource_id, shield.provider_id) == ("abc", "abc", "bedrock")
    assert bedrock_params(shield.params).version == "1"
    [provider] = config.providers["safety"]
    assert isinstance(provider, BedrockShields)
    assert provider.config.address == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert provider.config.aws_secret_access_key is not None
    assert errors(text, **environ) == [
        "5:5: `remote::bedrock` has no region; write `region` into `config`, or set `AWS_REGION` or "
        "`AWS_DEFAULT_REGION`"
    ]


def test_s2_the_shields_model_is_that_of_the_second_server() -> None:
    text = (SPEC / "s2.yaml").read_text(encoding="utf-8")
    environ = {"INFERENCE_MODEL": "llama3.2:3b", "SAFETY_MODEL": "llama-guard:3b"}
    config = load(text, **environ)
    [shield] = config.shields
    assert (shield.identity, shield.resource_id) == ("llama-guard:3b", "llama-guard:3b")
    assert [model.names[0] for model in config.models] == ["vllm-0/llama3.2:3b", "vllm-1/llama-guard:3b"]
    urls = [provider.config for provider in config.providers["inference"]]
    assert [url.base_url for url in urls if isinstance(url, VllmSettings)] == [
        "http://localhost:8000",
        "http://localhost:8001",
    ]
