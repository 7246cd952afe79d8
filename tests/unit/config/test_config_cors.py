"""Which origins may be named, and what credentials ask for."""

from __future__ import annotations

import pytest

from server.config import CorsConfig
from tests.support.config_texts import load, one_error, with_server


@pytest.mark.parametrize("origins", ['["*"]', '["https://a", "*"]'])
def test_credentials_for_every_origin_are_refused(origins: str) -> None:
    text = with_server(f"cors: {{allow_origins: {origins}, allow_credentials: true}}")
    assert one_error(text) == (
        "`allow_credentials` needs origins that are named; list them in `allow_origins`, which is `*` unless you do"
    )
    assert one_error(with_server("cors: {allow_credentials: true}")).startswith("`allow_credentials` needs")


@pytest.mark.parametrize(
    "pattern",
    [
        ".*",
        "https://.*",
        "https?://.+",
        r"https?://[^/]+",
        r"(?s).+",
        "",
        r"[\s\S]*",
        "https://a|.*",
        r"null|https://x",
        r"\w+://\S*",
    ],
)
def test_credentials_for_a_pattern_that_matches_anybody_are_refused(pattern: str) -> None:
    text = with_server(f"cors: {{allow_origins: [], allow_origin_regex: '{pattern}', allow_credentials: true}}")
    if pattern:
        assert one_error(text).startswith("`allow_credentials` needs origins that are named, and `allow_origin_regex`")
    else:
        assert one_error(text) == "`allow_origin_regex` needs a value, and its text is empty"


@pytest.mark.parametrize("pattern", [r"https://.*\.example\.com", r"https?://localhost(:\d+)?", "tauri://localhost"])
def test_credentials_for_a_pattern_that_names_a_domain_are_fine(pattern: str) -> None:
    text = with_server(f"cors: {{allow_origins: [], allow_origin_regex: '{pattern}', allow_credentials: true}}")
    cors = load(text).server.cors
    assert isinstance(cors, CorsConfig)
    assert cors.allow_origin_regex == pattern


@pytest.mark.parametrize(
    "origin",
    ["https://a/", "https://a/b", "a.example.com", "null", "https://A", "https://*.a", "https://u@a", "https://a b"],
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    error = one_error(with_server(f"cors: {{allow_origins: ['{origin}']}}"))
    assert error.startswith("`allow_origins[0]` takes `*` or origins like `https://app.example.com`, without a path")


def test_a_broken_pattern_of_origins() -> None:
    assert one_error(with_server("cors: {allow_origin_regex: '('}")) == (
        "`allow_origin_regex` takes a regular expression, and this is none"
    )


@pytest.mark.parametrize(
    "pattern", ["https://(?!evil)[a-z]+[.]example[.]com", r"https://(a)\1", "https://([a-z]{1,99}){1,99}"]
)
def test_a_pattern_of_origins_that_a_page_could_make_endless(pattern: str) -> None:
    error = one_error(with_server(f"cors: {{allow_origin_regex: '{pattern}'}}"))
    assert error.startswith("`allow_origin_regex` takes a regular expression without ")


def test_a_header_name_that_could_split_a_header() -> None:
    assert one_error(with_server("cors: {expose_headers: ['a: b']}")) == (
        "`expose_headers[0]` takes names that a header can carry"
    )
