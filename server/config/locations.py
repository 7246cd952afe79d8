"""Field types for locations: URLs, hosts, files, directories."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator

from server.config.types import Text, refusal, scalar, text
from server.local_files.secrets import UnusableSecret, read_secret
from server.local_files.trust import why_changeable
from server.net.plain_http import is_allowed

_HOST: Final = re.compile(r"\w(?:[\w.-]*\w)?\.?")
UNENCRYPTED: Final = "takes no unencrypted URL"
ENCRYPT: Final = "use `https://` for a host other than this one, or list the host in `allow_http`"

_NO_HOST: Final = re.compile(r"[@?#\\\s/]")
_FILE: Final = "file://"


def base_url(value: str) -> str:
    """Validate an http or https URL that paths can be appended to; remove its final slash."""
    parts = _split(value, ("http", "https"), "an http or https URL with a host")
    if "?" in value or "#" in value:
        raise refusal("bad-url", "takes a URL without `?` and `#`: paths are appended to it")
    return value.rstrip("/") if parts.path else value


def jwks_uri(value: str) -> str:
    """Validate the address of keys: an https or http URL, or a file (`file:///…`, `file://~/…`, `file://./…`).

    A file is returned with its absolute path, and refused if other users could write it.
    """
    if value.startswith(_FILE):
        return _file_uri(value.removeprefix(_FILE))
    _split(value, ("http", "https"), "an https or file URL")
    return value


def encrypted(url: str, allow_http: Collection[str], below: tuple[str, ...]) -> None:
    """Refuse a URL, at `below`, that is neither encrypted nor on this machine nor on one of the hosts `allow_http`."""
    if not is_allowed(url, allow_http):
        raise refusal("bad-url", UNENCRYPTED, ENCRYPT, below=below)


def plain_host(value: str) -> str:
    """Validate a host that may be reached without encryption: a name or address only, compared exactly."""
    if not value.isascii() or not _named_alone(value):
        hint = "write `keycloak` for `http://keycloak:8080`"
        raise refusal("bad-host", "takes a host's name or address, without scheme, port and path", hint)
    return value.lower()


def host(value: str) -> str:
    """Validate a host's name or address; a URL is refused, since logs would show its password or query."""
    if _NO_HOST.search(value):
        raise refusal("bad-host", "takes a host's name or address alone", "other parts of a URL have keys of their own")
    return value


def host_or_directory(value: str) -> str:
    """Validate a host's name or address, or the directory of a socket."""
    return value if value.startswith("/") and not value.startswith("//") else host(value)


def path(value: object) -> object:
    """Validate a path, `~` expanded; relative ones start at the directory in which the server was started."""
    return value if isinstance(value, Path) else expanded(str(text(value)))


def readable_file(value: object) -> object:
    """Validate the path of a file that exists and can be read now."""
    found = path(value)
    if not isinstance(found, Path) or value is found:
        return found
    described = scalar(value, "a path").described()
    try:
        is_file = stat.S_ISREG(found.stat().st_mode)
    except OSError as error:
        raise refusal("missing-file", f"takes a file that can be read, not {described} ({error.strerror})") from error
    if not is_file:
        raise refusal("missing-file", f"takes a file, and {described} is something else")
    if not os.access(found, os.R_OK):
        raise refusal("missing-file", f"takes a file that can be read, not {described} (Permission denied)")
    return found


def _split(value: str, schemes: tuple[str, ...], expected: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and _is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        usable = False
    if not usable or " " in value or "\\" in value:
        raise refusal("bad-url", f"takes {expected}")
    if parts.username is not None or parts.password is not None:
        raise refusal("bad-url", "takes no URL with a user name or a password in it", "URLs are shown in logs")
    return parts


def _is_host(host: str) -> bool:
    return bool(_HOST.fullmatch(host)) or (":" in host and bool(ip_address(host.partition("%")[0])))


def _named_alone(value: str) -> bool:
    try:
        return _is_host(value)
    except ValueError:
        return False


def _file_uri(rest: str) -> str:
    rest = rest.removeprefix("localhost")
    if not rest.startswith(("/", "~/", "./")) or "%00" in rest:
        raise refusal("bad-url", "takes a file by its path", "write `file:///…`, `file://~/…` or `file://./…`")
    found = expanded(unquote(rest)).absolute()
    return _FILE + quote(str(trusted(found)))


def trusted(found: Path) -> Path:
    """Validate a path whose content only root and the server's own user can change."""
    reason = why_changeable(found)
    if reason is not None:
        hint = f"give it to the user of the server and take the permission away: `chmod go-w {shlex.quote(str(found))}`"
        raise refusal("open-file", f"takes a file that no other user can change, and {reason}", hint)
    return found


def token_file(found: Path) -> Path:
    """Validate the path of a file that holds a token which a header can carry."""
    return _secret_file(found, for_header=True)


def secret_file(found: Path) -> Path:
    """Validate the path of a file that holds a secret."""
    return _secret_file(found, for_header=False)


def _secret_file(found: Path, *, for_header: bool) -> Path:
    try:
        read_secret(found, for_header=for_header)
    except UnusableSecret as unusable:
        raise refusal("bad-token", f"names a file that {unusable}") from None
    return found


def expanded(value: str) -> Path:
    """Return the path, with `~` for the home directory at its beginning."""
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise refusal("bad-path", "starts with `~`, and that home directory isn't known") from error


BaseUrl = Annotated[Text, AfterValidator(base_url)]
"""An http or https URL without credentials, query, fragment and final slash."""

PlainHost = Annotated[Text, AfterValidator(plain_host)]
"""The host of an http URL, in lower case."""

JwksUri = Annotated[Text, AfterValidator(jwks_uri)]
"""An https, http or file URL without credentials."""

Host = Annotated[Text, AfterValidator(host)]
"""A host's name or address."""

HostOrDirectory = Annotated[Text, AfterValidator(host_or_directory)]
"""A host's name or address, or the directory of a socket."""

FilePath = Annotated[Path, BeforeValidator(path)]
"""A path; what it names may not exist yet."""

ReadableFile = Annotated[Path, BeforeValidator(readable_file)]
"""A path of a file that exists."""

TokenFile = Annotated[ReadableFile, AfterValidator(token_file)]
"""A path of a file that holds a token."""

SecretFile = Annotated[ReadableFile, AfterValidator(secret_file)]
"""A path of a file that holds a secret."""
