"""The lines of the log: which are written, and what is cut out of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from server.net.log_filter import CLIENTS, without_secrets
from tests.support.patience import START

SCRIPT = """
import logging
from server.net.log_filter import log_to_stderr

log_to_stderr()
for name in NAMES:
    for level in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger(name), level)("GET https://me:%s@host/keys?k=%s#%s", *["canary"] * 3)
        getattr(logging.getLogger(name), level)("Max retries exceeded with url: /keys?subscription-key=canary (Caused)")
try:
    raise ValueError("https://host/keys?k=canary")
except ValueError:
    logging.getLogger("asyncio").exception("nobody looked at https://host/keys?k=canary")
"""


def said(*names: str) -> list[str]:
    """The lines of a process whose loggers of these names say something at each level."""
    script = SCRIPT.replace("NAMES", repr(names))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=START, check=True)
    return done.stderr.splitlines()


def test_libraries_say_no_more_than_warnings_and_none_of_them_a_secret() -> None:
    lines = said(*(f"{name}.inner" for name in CLIENTS), "some.other.library")
    assert "canary" not in "\n".join(lines)
    assert sum("GET https://host/keys?…" in line for line in lines) == 2 * (len(CLIENTS) + 1)
    assert not [line for line in lines if " INFO " in line or " DEBUG " in line]


def test_what_this_server_says_is_written_from_info_on() -> None:
    lines = said("ostiary.opa", "server.authn.jwks")
    assert len([line for line in lines if " INFO " in line]) == 4
    assert "canary" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no address", "no address"),
        ("is that so? yes = no", "is that so? yes = no"),
        ("at `https://a.example:8443/v1/keys`:", "at `https://a.example:8443/v1/keys`:"),
        ("`https://a/keys?x=y` failed", "`https://a/keys?…` failed"),
        ("https://a?x", "https://a?…"),
        ("https://a/#x", "https://a/?…"),
        ("https://u:p@a/b", "https://a/b"),
        ("rediss://:p@a:6379 and postgresql://u:p@/db?host=x", "rediss://a:6379 and postgresql:///db?…"),
        ("url: /v1/traces?api-key=x (Caused", "url: /v1/traces?… (Caused"),
    ],
)
def test_an_address_is_cut_to_scheme_host_and_path(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
