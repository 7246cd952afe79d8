"""Commands that a start suggests: each of them works unchanged, in another terminal of the same machine."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509

from server.authn.development import DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER, JWKS_FILE
from server.config import Config
from server.config.auth import (
    ApiKeyConfig,
    CustomConfig,
    GitHubConfig,
    IssuerConfig,
    KubernetesConfig,
    OAuth2Config,
    ProviderOfIdentity,
)
from server.config.home import HOME_VARIABLE, home, is_in_home

PROGRAM: Final = "ostiary"

_HERE: Final = "localhost"
_LOOPBACK: Final = (_HERE, "127.0.0.1", "::1")


def attempts(path: Path, config: Config, host: str, port: int) -> Iterator[str]:
    """Yield the commands, for a server that listens on that address."""
    name = config.models[0].names[0] if config.models else "some-model"
    bearer = ""
    provider = config.server.auth.provider_config
    if provider is not None:
        bearer = ' -H "Authorization: Bearer $TOKEN"'
        yield _a_token(provider)
    yield f"{_curl(config, host, port)}/v1/models{bearer}"
    yield f"{program()} policy explain {shlex.quote(str(path))} --as user-1 --role developer --resource model::{name}"


def program() -> str:
    """Return the words that run this program: its name where the shell finds it, else the typed path, else Python."""
    typed, found = Path(sys.argv[0]), shutil.which(PROGRAM)
    if typed.name != PROGRAM:
        return PROGRAM if found is not None else f"{shlex.quote(sys.executable)} -m server.cli.main"
    return shlex.quote(str(typed)) if found is None or not typed.samefile(found) else PROGRAM


def _curl(config: Config, host: str, port: int) -> str:
    """Return a call of curl up to the path of the URL, with options to reach the server and to trust its
    certificate.
    """
    target = _HERE if _is_any(host) else host
    settings = config.server
    if settings.tls_certfile is None:
        return f"curl http://{in_url(target)}:{port}"
    names = _names_of(settings.tls_certfile)
    options = f"--cacert {shlex.quote(str(settings.tls_certfile.absolute()))}"
    if settings.tls_cafile is not None:
        options += " --cert CLIENT-CERTIFICATE.pem --key CLIENT-KEY.pem"
    if is_loopback(target):
        target = next((name for name in (target, *_LOOPBACK) if name in names), target)
    if target in names or not names:
        return f"curl {options} https://{in_url(target)}:{port}"
    # The certificate is for another name: curl resolves that name to this address.
    name = names[0].replace("*", PROGRAM)
    return f"curl {options} --connect-to ::{in_url(target)}: https://{in_url(name)}:{port}"


def _is_any(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to what listens there."""
    if host == _HERE:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def in_url(host: str) -> str:
    """Return the host as URLs spell it."""
    return f"[{host}]" if ":" in host else host


def _names_of(certfile: Path) -> list[str]:
    """Return the names and addresses that a certificate is for; none if it has none."""
    try:
        certificate = x509.load_pem_x509_certificates(certfile.read_bytes())[0]
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, IndexError, x509.ExtensionNotFound):
        return []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _a_token(provider: ProviderOfIdentity) -> str:
    """Return a command that sets `TOKEN`: to a new token where this program can issue one, else to the user's input."""
    match provider:
        case OAuth2Config():
            issuers = provider.issuers or (provider,)
            if any(map(_believes_development, issuers)):
                return f"TOKEN=$({_at_home()}{program()} token --subject user-1 --role developer --team ml)"
            names = " or ".join(issuer.issuer or "your identity provider" for issuer in issuers)
            return f"read -r TOKEN   # paste a token of {names}"
        case ApiKeyConfig():
            keys = "" if provider.db_path is None else f" --keys {shlex.quote(str(provider.db_path.absolute()))}"
            made = f"{_at_home()}{program()} key create --principal user-1 --role developer --team ml{keys}"
            return f"TOKEN=$({made})"
        case KubernetesConfig():
            return "read -r TOKEN   # paste a token of a service account, as `kubectl create token` prints it"
        case GitHubConfig():
            return "read -r TOKEN   # paste a token of GitHub, as `gh auth token` prints it"
        case CustomConfig():
            return "read -r TOKEN   # paste a token that your endpoint knows"


def _believes_development(issuer: IssuerConfig) -> bool:
    """Return whether the server accepts tokens of `ostiary token`: trusted key, same issuer and audience."""
    if issuer.jwks is None or not is_in_home(issuer.jwks.uri, JWKS_FILE):
        return False
    return issuer.issuer in (None, DEVELOPMENT_ISSUER) and issuer.audience in (None, DEVELOPMENT_AUDIENCE)


def _at_home() -> str:
    """Return the variable that another terminal needs, where this server's keys are not in the default place."""
    return f"{HOME_VARIABLE}={shlex.quote(str(home()))} " if os.environ.get(HOME_VARIABLE) else ""
