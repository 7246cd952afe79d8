"""The shapes of `server`: address, TLS, CORS, quotas, the decision log."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Tag, model_validator

from server.config.auth import AuthConfig
from server.config.fields import Refused, Switch, Text, not_yet, one_of, text, whole_number
from server.config.locations import FilePath, ReadableFile, path
from server.config.shape import Shape
from server.config.storage import SqliteStore

STDOUT: Final = "stdout"
LONGEST_PREFLIGHT_SECONDS: Final = 7 * 24 * 3600
MOST_REQUESTS: Final = 10**12

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@*\\]+")
_METHOD: Final = re.compile(r"[A-Z]+")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+")
# No pattern that names its origins matches one of these: `.invalid` and 192.0.2.0/24 are never anybody's.
_NOBODY: Final = ("https://a.invalid", "http://ostiary-probe.invalid", "https://ostiary-probe.invalid:8443", "http://192.0.2.1", "null")
