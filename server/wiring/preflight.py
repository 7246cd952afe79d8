"""The files that a configuration names, looked at as a start looks at them, without starting anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from server.authn.development import JWKS_FILE
from server.authn.key_source import checked_address
from server.authn.key_store import KEYS_FILE, KeyStore
from server.authn.keys import parse_key_set
from server.config import Config
from server.config.auth import ApiKeyConfig, AskedConfig, IssuerConfig, OAuth2Config, ProviderOfIdentity
from server.config.home import home, is_in_home
from server.config.providers import RemoteSettings, VllmSettings
from server.config.server import ServerConfig
from server.inference.providers.dialects import DIALECTS
from server.local_files.reading import UnreadableFile, read_small
from server.net.http_client import MAX_BYTES
from server.net.tls import ServerTls, client_context

_HOSTED: Final = frozenset(urlsplit(dialect.base_url).hostname for dialect in DIALECTS.values() if dialect.base_url)
_OF_CUSTOMERS: Final = (".azure.com", ".azure.cn", ".azure.us", ".azuredatabricks.net", ".databricks.com")
"""Hosts of services at which each customer has another address."""


def preflight(config: Config) -> list[str]:
    """Return one sentence for each danger of the certificates and keys, and for each file that may come later.

    Those are files of keys by which no token can be verified, and programs of tool groups. Hosted providers without a
    key have a sentence too.

    Raises UnusableCertificate, UnusableAuthorities, UnusableEndpoint and KeyStoreUnusable for what keeps a server from
    starting.
    """
    tls = server_tls(config.server)
    for cafile in _authorities(config):
        client_context(cafile, verify=True)
    _check_identity(config.server.auth.provider_config)
    identity = config.server.auth.provider_config
    lacking = [*_lacking_keys(identity), *_lacking_programs(config), *_lacking_credentials(config)]
    return [*(() if tls is None else tls.doubts()), *lacking]


def server_tls(settings: ServerConfig) -> ServerTls | None:
    """Return the certificate that the server shows, or None; raises UnusableCertificate and UnusableAuthorities."""
    certfile, keyfile = settings.tls_certfile, settings.tls_keyfile
    return None if certfile is None or keyfile is None else ServerTls(certfile, keyfile, settings.tls_cafile)


def key_store(config: ApiKeyConfig) -> KeyStore:
    """Return the store of API keys."""
    return KeyStore(config.db_path or home() / KEYS_FILE)


def _authorities(config: Config) -> Iterator[Path]:
    """Yield every file of authorities by which this server verifies others."""
    for providers in config.providers.values():
        for provider in providers:
            verify = getattr(provider.config, "tls_verify", True)
            if isinstance(verify, Path):
                yield verify
    identity = config.server.auth.provider_config
    if isinstance(identity, AskedConfig):
        issuers = identity.issuers if isinstance(identity, OAuth2Config) else ()
        yield from (asked.tls_cafile for asked in (identity, *issuers) if asked.tls_cafile is not None)


def _lacking_keys(provider: ProviderOfIdentity | None) -> Iterator[str]:
    """Yield a sentence for each file of keys by which no token can be verified now.

    It is no mistake, since a file may come later. The file of the development key is made at the start.
    """
    issuers: tuple[IssuerConfig, ...] = (provider, *provider.issuers) if isinstance(provider, OAuth2Config) else ()
    for uri in sorted({issuer.jwks.uri for issuer in issuers if issuer.jwks is not None}):
        path = Path(unquote(urlsplit(uri).path))
        if not uri.startswith("file:") or is_in_home(uri, JWKS_FILE):
            continue
        try:
            reason = None if parse_key_set(read_small(path, MAX_BYTES)).keys else "holds no key that can be used"
        except UnreadableFile as unreadable:
            reason = str(unreadable)
        except ValueError as fault:
            reason = f"can't be used ({fault})"
        if reason is not None:
            yield f"the file of keys `{path}` {reason}, so no token of its issuer is accepted yet; look at `jwks.uri`"


def _lacking_programs(config: Config) -> Iterator[str]:
    """Yield a sentence for each program of a tool group that can't be run now."""
    for group in config.tool_groups:
        if group.mcp_command is None:
            continue
        program = group.mcp_command.command[0]
        # `is_file` raises an error for what `access` only says no to: a folder that is closed, a name that is too long.
        if not (os.access(program, os.X_OK) and Path(program).is_file()):
            yield f"the tool group `{group.toolgroup_id}` names `{program}`, which is no program that can be run"


def _lacking_credentials(config: Config) -> Iterator[str]:
    """Yield a sentence for each provider without a key at a service that answers no request without one."""
    for provider in config.providers.get("inference", ()):
        settings, dialect = provider.config, DIALECTS.get(provider.provider_type)
        if dialect is None or not isinstance(settings, RemoteSettings) or settings.key is not None:
            continue
        host = urlsplit(dialect.url_of(settings.address)).hostname or ""
        if host in _HOSTED or host.endswith(_OF_CUSTOMERS):
            name = "api_token" if isinstance(settings, VllmSettings) else "api_key"
            yield f"the provider `{provider.provider_id}` has no `{name}`, without which `{host}` refuses its requests"


def _check_identity(provider: ProviderOfIdentity | None) -> None:
    if isinstance(provider, ApiKeyConfig):
        key_store(provider).check()
    if isinstance(provider, OAuth2Config):
        issuers: tuple[IssuerConfig, ...] = (provider, *provider.issuers)
        for issuer in issuers:
            if issuer.jwks is not None:
                token = issuer.jwks.token
                checked_address(issuer.jwks.uri, None if token is None else token.get_secret_value(), issuer.allow_http)
