"""The type of a provider's credentials, which stand in the configuration or in a file that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, SecretStr

from policy.source.diagnostics import visible
from server.config.locations import expanded
from server.config.raw_value import RawValue
from server.config.types import for_a_header, refusal, secret
from server.local_files.secrets import MAX_KEY_FILE, UnusableSecret, read_secret

_FILE: Final = re.compile(r"\$\{file:([^{}]+)\}")


class FileSecret(SecretStr):
    """A credential out of the file at `path`, as it was when the configuration was read."""

    def __init__(self, text: str, path: Path) -> None:
        super().__init__(text)
        self.path = path


def _key(value: object) -> object:
    """Validate a key that a header can carry, or `${file:PATH}`, written in the file itself, for one in a file."""
    named = _FILE.fullmatch(value.text) if isinstance(value, RawValue) and not value.variables else None
    if named is None:
        key = secret(value)
        return for_a_header(key) if isinstance(key, SecretStr) else key
    path = expanded(named[1]).absolute()
    try:
        return FileSecret(read_secret(path, for_header=True, most=MAX_KEY_FILE), path)
    except UnusableSecret as unusable:
        raise refusal("bad-token", f"names the file `{visible(str(path))}`, which {unusable}") from None


ProviderKey = Annotated[SecretStr, BeforeValidator(_key)]
"""A credential that reaches one provider: a text for a header, or a `FileSecret`."""
