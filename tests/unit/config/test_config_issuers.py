"""Issuers: the secrets by which they are asked, the hosts that may be asked in plain, the leeway of their times."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.config.auth import IssuerConfig, JwksConfig
from tests.support.config_texts import errors, load, one_error, warnings, with_server

SECRET = "canary-71c0"


def issuer(more: str) -> str:
    """An issuer with these keys; `audience` is on the same line, so that columns count from there."""
    return with_server(f"auth: {{provider_config: {{type: oauth2_token, audience: a, {more}}}}}")


def column(text: str, key: str) -> int:
    """The column of that key's value in the second line."""
    line = text.splitlines()[1]
    return line.index(key) + len(key) + 1


def jwks(more: str) -> str:
    return issuer(f"jwks: {{uri: 'https://a/keys', {more}}}")


def asking(more: str) -> str:
    return issuer(f"introspection: {{url: 'https://a/ask', client_id: c, {more}}}")


@pytest.mark.parametrize("token", [f"{SECRET} x", f"{SECRET}\\tx", f"{SECRET}é", f"{SECRET}\\n", f"\\n{SECRET}", " "])
@pytest.mark.parametrize("how", ["written", "variable"])
def test_a_token_that_no_header_can_carry_is_one_sentence_with_its_place(token: str, how: str) -> None:
    plain = token.encode().decode("unicode_escape").encode("latin-1").decode() if "\\" in token else token
    text = jwks("token: '${env.TOKEN}'") if how == "variable" else jwks(f'token: "{token}"')
    (told,) = errors(text, TOKEN=plain)
    assert told.startswith(f"2:{column(text, 'token: ')}: `token` ")
    assert SECRET not in told


@pytest.mark.parametrize("kind", ["remote::openai", "remote::vllm"])
def test_so_is_one_for_a_provider_of_models(kind: str) -> None:
    key = {"remote::openai": "api_key: 'a b'", "remote::vllm": "api_token: 'a b', url: 'https://a'"}[kind]
    text = f"providers: {{inference: [{{provider_id: p, provider_type: '{kind}', config: {{{key}}}}}]}}"
    assert "takes a token of printable ascii characters without a blank" in one_error(text)


@pytest.mark.parametrize("content", [b"t.o-k~e+n/=", b"token\n", b"token\r\n"])
def test_a_token_may_lie_in_a_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content)
    provider = load(jwks(f"token_file: '{tmp_path}/token'")).server.auth.provider_config
    assert isinstance(provider, IssuerConfig)
    assert isinstance(provider.jwks, JwksConfig)
    assert provider.jwks.token_file == tmp_path / "token"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"canary-71c0 x", "holds a blank, a line break or another character that a header can't carry"),
        (b"canary-71c0\n\n", "holds a blank, a line break or another character that a header can't carry"),
        ("canary-71c0é".encode(), "holds a blank, a line break or another character that a header can't carry"),
        (b"canary-71c0\xff", "holds something other than text"),
        (b"\xef\xbb\xbfcanary-71c0", "holds a blank, a line break or another character that a header can't carry"),
        (b"canary-71c0" * 2_000, "has more than 16384 bytes"),
    ],
)
def test_a_file_without_a_token_is_one_sentence_with_its_place(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content)
    text = jwks(f"token_file: '{tmp_path}/token'")
    (told,) = errors(text)
    assert told == f"2:{column(text, 'token_file: ')}: `token_file` names a file that {reason}"


def test_a_secret_of_a_client_may_lie_in_a_file_and_hold_blanks_but_no_line_break(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"two words\n")
    load(asking(f"client_secret_file: '{tmp_path}/secret'"))
    for content in (b"", b"two\nlines\n", b"\0"):
        (tmp_path / "secret").write_bytes(content)
        assert one_error(asking(f"client_secret_file: '{tmp_path}/secret'")).startswith("`client_secret_file` names a")
    assert one_error(asking("send_secret_in_body: true")).startswith("`introspection` has no `client_secret`")


@pytest.mark.parametrize("key", ["token", "client_secret"])
def test_a_secret_stands_in_one_place(key: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"token")
    text = jwks if key == "token" else asking
    assert one_error(text(f"{key}: x, {key}_file: '{tmp_path}/secret'")) == (
        f"`{key}` and `{key}_file` say the same twice; keep one of them"
    )


def test_a_file_that_is_none_is_told_at_the_place_of_its_name(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "is something else"), (tmp_path / "missing", "No such file")):
        assert reason in one_error(jwks(f"token_file: '{path}'"))


KEYCLOAK = "jwks: {uri: 'http://keycloak:8080/realms/main/certs'}, allow_http: [HOST]"
EVERY = {
    "jwks": issuer("jwks: {uri: 'http://svc:8080/keys'}, allow_http: [HOST]"),
    "introspection": issuer(
        "introspection: {url: 'http://svc:8080/ask', client_id: c, client_secret: s}, allow_http: [HOST]"
    ),
    "one of several": with_server(
        "auth: {provider_config: {type: oauth2_token, issuers: [{issuer: i, audience: a, "
        "jwks: {uri: 'http://svc:8080/keys'}, allow_http: [HOST]}]}}"
    ),
    "kubernetes": with_server(
        "auth: {provider_config: {type: kubernetes, api_server_url: 'http://svc:8080', allow_http: [HOST]}}"
    ),
    "github_token": with_server(
        "auth: {provider_config: {type: github_token, github_api_base_url: 'http://svc:8080', allow_http: [HOST]}}"
    ),
    "custom": with_server("auth: {provider_config: {type: custom, endpoint: 'http://svc:8080', allow_http: [HOST]}}"),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_named_host_may_be_asked_in_plain_and_a_warning_says_so(name: str) -> None:
    text = EVERY[name].replace("HOST", "svc")
    load(text)
    (told,) = [warning for warning in warnings(text) if "not encrypted" in warning]
    assert "can take over every caller" in told
    assert "takes no unencrypted URL" in one_error(EVERY[name].replace("HOST", ""))


@pytest.mark.parametrize(
    "url",
    [
        "http://svc.example.com/",
        "http://sub.svc/",
        "http://xsvc/",
        "http://svcx/",
        "http://svc./",
        "http://svc.:8080/",
        "http://10.0.0.1/",
        "http://other/svc",
        "http://other/?svc",
        "http://other#svc",
    ],
)
def test_no_other_host_may_be_asked_in_plain(url: str) -> None:
    assert one_error(issuer(f"jwks: {{uri: '{url}'}}, allow_http: [svc]")).startswith("`uri` takes no unencrypted URL")


@pytest.mark.parametrize(
    "url", ["http://svc@other/", "http://svc:8080@other/", "http://svc\\@other/", "http://svc%2f/"]
)
def test_no_trick_makes_another_host_look_like_the_named_one(url: str) -> None:
    assert one_error(issuer(f"jwks: {{uri: '{url}'}}, allow_http: [svc]")).startswith("`uri` takes ")


def test_letters_of_a_host_are_compared_without_their_case() -> None:
    load(issuer("jwks: {uri: 'http://KeyCloak/'}, allow_http: [keycloak]"))
    load(issuer("jwks: {uri: 'http://keycloak/'}, allow_http: [KEYCLOAK]"))
    load(issuer("jwks: {uri: 'http://[fd00::1]:80/'}, allow_http: ['fd00::1']"))


@pytest.mark.parametrize(
    "host",
    [
        "http://svc",
        "svc:8080",
        "svc/",
        "*",
        "*.svc",
        "svc@x",
        "",
        "s vc",
        ".svc",
        "[fd00::1]",
        "s\u0131vc",
        "10.0.0.0/8",
    ],
)
def test_only_a_host_alone_can_be_named(host: str) -> None:
    text = issuer(f"jwks: {{uri: 'https://svc/'}}, allow_http: ['{host}']")
    assert one_error(text).startswith("`allow_http[0]` ")


def test_a_host_of_one_issuer_is_not_allowed_for_another_and_one_that_is_not_used_is_told() -> None:
    text = """
        server:
          auth:
            provider_config:
              type: oauth2_token
              issuers:
              - {issuer: a, audience: a, jwks: {uri: "https://a/"}, allow_http: [svc]}
              - {issuer: b, audience: a, jwks: {uri: "http://svc/"}}
    """
    assert errors(text) == [
        "8:46: `uri` takes no unencrypted URL; use `https://` for a host other than this one, or list the host in "
        "`allow_http`"
    ]
    text = text.replace('"http://svc/"', '"https://svc/"')
    assert warnings(text) == [
        "7:74: `allow_http[0]` is the host of no address here that starts with `http://`; leave it out"
    ]


def test_hosts_and_leeway_belong_to_one_issuer_of_several() -> None:
    text = "auth: {provider_config: {type: oauth2_token, KEY, issuers: [{issuer: b, audience: a, jwks: {uri: 'https://a'}}]}}"
    for key in ("allow_http: [a]", "leeway: 5"):
        found = errors(with_server(text.replace("KEY", key)))
        assert [error for error in found if "has no effect beside `issuers`" in error] == found


@pytest.mark.parametrize(("written", "seconds"), [("0", 0), ("5", 5), ("300", 300), ("'30'", 30)])
def test_the_leeway_is_up_to_five_minutes(written: str, seconds: int) -> None:
    provider = load(issuer(f"jwks: {{uri: 'https://a'}}, leeway: {written}")).server.auth.provider_config
    assert isinstance(provider, IssuerConfig)
    assert provider.leeway == seconds


def test_the_leeway_is_a_minute_unless_the_file_says_else() -> None:
    provider = load(issuer("jwks: {uri: 'https://a'}")).server.auth.provider_config
    assert isinstance(provider, IssuerConfig)
    assert provider.leeway == 60


@pytest.mark.parametrize("written", ["-1", "301", "1.5", "60s", "[]", "yes"])
def test_no_other_leeway_is_taken(written: str) -> None:
    assert one_error(issuer(f"jwks: {{uri: 'https://a'}}, leeway: {written}")).startswith(
        "`leeway` takes a whole number from 0 to 300, not "
    )


def test_a_key_file_that_others_may_write_is_refused_at_its_place(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text("{}")
    text = issuer(f"jwks: {{uri: 'file://{keys}'}}")
    for mode in (0o600, 0o644, 0o400):
        keys.chmod(mode)
        load(text)
    for mode in (0o666, 0o664, 0o602):
        keys.chmod(mode)
        (told,) = errors(text)
        assert told == (
            f"2:{column(text, 'uri: ')}: `uri` takes a file that no other user can change, and other users may write "
            f"`{keys}`; give it to the user of the server and take the permission away: `chmod go-w {keys}`"
        )
    keys.unlink()
    load(text)
    os.chmod(tmp_path, 0o777)  # noqa: S103, PTH101 - that is what is tested
    assert f"other users may write `{tmp_path}`" in one_error(text)
