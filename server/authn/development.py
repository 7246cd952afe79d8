"""Development tokens for first runs and tests, signed with a key that stays in one directory."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jose import jwk, jws
from jose.exceptions import JOSEError

from server.authn.attributes import MAX_VALUE_LENGTH
from server.authn.strict_json import is_plain
from server.authn.token_rules import MAX_ISSUER_LENGTH, MAX_SUBJECT_LENGTH, is_name
from server.local_files.atomic import create_once, publish
from server.local_files.trust import why_changeable

DEVELOPMENT_ISSUER: Final = "ostiary-development"
DEVELOPMENT_AUDIENCE: Final = "ostiary"
KEY_FILE: Final = "development-key.pem"
JWKS_FILE: Final = "development-jwks.json"

_ALGORITHM: Final = "RS256"


class DevelopmentKeyUnusable(Exception):
    """Raised if the directory's key can't be made, read or trusted; the message says what to do."""


def development_jwks(directory: Path) -> Path:
    """Return the JWKS file of the directory's development key; create key and directory if there are none.

    Any number of processes may call this at once and end with the same key. Raises `DevelopmentKeyUnusable`.
    """
    _load(directory)
    return directory / JWKS_FILE


def issue_token(
    directory: Path,
    subject: str,
    *,
    roles: Sequence[str] = (),
    teams: Sequence[str] = (),
    projects: Sequence[str] = (),
    namespaces: Sequence[str] = (),
    lifetime_seconds: int = 3600,
    issuer: str = DEVELOPMENT_ISSUER,
    audience: str = DEVELOPMENT_AUDIENCE,
) -> str:
    """Return a JWT for `subject`, valid from now for `lifetime_seconds`, signed with the directory's development key.

    Raises `DevelopmentKeyUnusable`, and ValueError with a sentence for a name that the server would refuse.
    """
    if not is_name(subject):
        raise ValueError(f"the subject is not 1 to {MAX_SUBJECT_LENGTH} plain characters")
    if not is_plain(issuer, MAX_ISSUER_LENGTH):
        raise ValueError(f"the issuer is not 1 to {MAX_ISSUER_LENGTH} plain characters")
    if lifetime_seconds <= 0:
        raise ValueError(f"the lifetime of `{lifetime_seconds}` seconds is not in the future")
    attributes = {"roles": roles, "teams": teams, "projects": projects, "namespaces": namespaces}
    for name, values in attributes.items():
        if not all(is_plain(value, MAX_VALUE_LENGTH) for value in values):
            raise ValueError(f"one of the {name} is not 1 to {MAX_VALUE_LENGTH} plain characters")
    now = int(time.time())
    claims: dict[str, Any] = {name: list(values) for name, values in attributes.items() if values}
    claims |= {"iss": issuer, "aud": audience, "sub": subject, "iat": now, "exp": now + lifetime_seconds}
    pem, kid = _load(directory)
    return jws.sign(claims, pem, headers={"kid": kid}, algorithm=_ALGORITHM)


def _load(directory: Path) -> tuple[str, str]:
    """Return the private key as PEM and its name, with the JWKS file brought up to date."""
    path = directory / KEY_FILE
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            create_once(path, _new_private_key())
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise DevelopmentKeyUnusable(f"the key `{path}` is open to other users; delete it and a new one is made")
        reason = why_changeable(path)
        if reason is not None:
            hint = "give it to the user of the server and take the permission away: `chmod go-w`"
            raise DevelopmentKeyUnusable(f"the key `{path}` can't be believed: {reason}; {hint}")
        pem = path.read_text("ascii")
        public = jwk.construct(pem, _ALGORITHM).public_key().to_dict()
        kid = _thumbprint(public)
        published = json.dumps({"keys": [{**public, "use": "sig", "kid": kid}]}, indent=2).encode() + b"\n"
        publish(directory / JWKS_FILE, published)
    except OSError as error:
        raise DevelopmentKeyUnusable(f"the key `{path}` can't be used: {error.strerror}") from None
    except (ValueError, AttributeError, JOSEError):  # python-jose takes another kind of key for RSA and fails later
        raise DevelopmentKeyUnusable(f"`{path}` is no RSA key as PEM; delete it and a new one is made") from None
    return pem, kid


def _new_private_key() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _thumbprint(public: dict[str, Any]) -> str:
    """Return the key's name: its RFC 7638 thumbprint."""
    members = json.dumps({name: public[name] for name in ("e", "kty", "n")}, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()
