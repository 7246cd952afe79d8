"""Log configuration: levels of loggers, and redaction of addresses in each line."""

from __future__ import annotations

import logging
import re
import sys
from typing import Final

OWN: Final = ("ostiary", "server")
"""The loggers of this program; what stands below them is theirs too."""

CLIENTS: Final = (
    "aiohttp",
    "botocore",
    "httpcore",
    "httpx",
    "opa_client",
    "opentelemetry",
    "redis",
    "requests",
    "urllib3",
)
"""HTTP client libraries. Below a warning they log the address of each request, with its query."""

_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,20}://)(?P<rest>[^\s'\"`<>]+)")
_QUERY: Final = re.compile(r"\?[^\s'\"`<>=]{1,200}=[^\s'\"`<>]*")


def quieten_clients() -> None:
    """Limit HTTP client libraries to warnings at any level of the root logger, since they log the addresses of
    requests.
    """
    for name in CLIENTS:
        logging.getLogger(name).setLevel(logging.WARNING)


def without_secrets(text: str) -> str:
    """Return `text` with every address cut to scheme, host and path: queries, fragments and user names may be
    secret.
    """
    return _QUERY.sub("?…", _URL.sub(_cut, text))


def log_to_stderr(*, with_process: bool = False) -> None:
    """Log to standard error, libraries from warnings on only; `with_process` adds the process id of workers."""
    process = " [%(process)d]" if with_process else ""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(f"%(asctime)s{process} %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in OWN:
        logging.getLogger(name).setLevel(logging.INFO)
    quieten_clients()


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def _cut(url: re.Match[str]) -> str:
    authority, slash, path = url["rest"].partition("/")
    plain = re.split(r"[?#]", authority.rpartition("@")[2] + slash + path, maxsplit=1)
    return url["scheme"] + plain[0] + ("?…" if len(plain) > 1 else "")
