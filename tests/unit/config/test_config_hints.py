"""What a message says to write in place of a mistake."""

from __future__ import annotations

import pytest

from tests.support.config_texts import errors, with_server


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "cors: 'https://a'",
            "takes `true`, `false` or a mapping, not `https://a`; name the origins: `cors: {allow_or",
        ),
        ("quota: {kvstore: {type: redis, db_path: a}}", "can't be `redis`; use `sqlite`, or `{backend: NAME, namespac"),
        ("quota: {anonymous_max_requests: 1}", "has no `kvstore`; write `kvstore: {type: sqlite, db_path: ./quotas.db"),
        ("auth:oauth2_token", "takes a mapping, not a text; write a blank behind the colon"),
        ("trusted_proxies: 10.0.0.1", "takes a list, not a text; start each entry with `- `"),
    ],
)
def test_what_to_write_is_said(text: str, error: str) -> None:
    assert error in "".join(errors(with_server(text)))


def test_a_word_that_two_names_end_in_is_told_with_both() -> None:
    assert errors("storage: {backends: {pg: {type: postgres}}}") == [
        "1:33: `type` can't be `postgres`; did you mean `kv_postgres` or `sql_postgres`?"
    ]
