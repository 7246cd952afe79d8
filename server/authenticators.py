"""Which authenticator a configuration asks for; beside `server.wiring`, the one place that names their classes."""

from __future__ import annotations

import ssl
from functools import partial

from policy.claims import default_claims
from server.authn import Authenticator
from server.authn.api_keys import ApiKeyValidator
from server.authn.by_form import ByForm
from server.authn.claims import ClaimsMapping
from server.authn.custom import CustomValidator
from server.authn.github import GitHubValidator
from server.authn.introspection import IntrospectionSettings, IntrospectionValidator
from server.authn.key_store import KEYS_FILE, KeyStore
from server.authn.kubernetes import KubernetesValidator
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from server.authn.pseudonyms import kept_key, pseudonym
from server.authn.registered_claims import TokenRules
from server.authn.remembered import Remembering
from server.config import AuthConfig
from server.config.auth import (
    ApiKeyConfig,
    CustomConfig,
    GitHubConfig,
    IssuerConfig,
    KubernetesConfig,
    OAuth2Config,
)
from server.home import home
from server.tls import client_context


def authenticator(config: AuthConfig) -> Authenticator | None:
    """Who turns tokens into principals; None where authentication is not configured.

    Raises ValueError and `PseudonymKeyUnusable`, with a sentence, for settings that can't work.
    """
    match config.provider_config:
        case None:
            return None
        case OAuth2Config() as oauth2:
            return _oauth2(oauth2)
        case KubernetesConfig() as kubernetes:
            url, mapping = kubernetes.api_server_url, _mapping(kubernetes)
            return Remembering(KubernetesValidator(url, mapping, _context(kubernetes)), kubernetes.recheck_period)
        case GitHubConfig() as github:
            url, mapping = github.github_api_base_url, _mapping(github)
            return Remembering(GitHubValidator(url, mapping, _context(github)), github.recheck_period)
        case CustomConfig() as custom:
            secret = custom.name_key
            key = kept_key(home()) if secret is None else secret.get_secret_value().encode()
            named = partial(pseudonym, key)
            return Remembering(CustomValidator(custom.endpoint, named, _context(custom)), custom.recheck_period)
        case ApiKeyConfig() as keys:
            store = KeyStore(keys.db_path or home() / KEYS_FILE)
            return Remembering(ApiKeyValidator(store), keys.recheck_period)


def _oauth2(config: OAuth2Config) -> Authenticator:
    """One judge for one issuer with keys alone; else a choice between several."""
    issuers: tuple[IssuerConfig, ...] = config.issuers or (config,)
    judges = [(issuer, _by_keys(issuer), _by_introspection(issuer)) for issuer in issuers]
    if len(judges) == 1 and judges[0][1] is not None and judges[0][2] is None:
        return judges[0][1]
    signed: dict[str | None, Authenticator] = {}
    for issuer, keys, endpoint in judges:
        judge = keys or endpoint
        if judge is not None:
            signed[issuer.issuer if config.issuers else None] = judge
    # A token that names nobody can be asked about only where it is clear whom to ask.
    endpoints = [endpoint for _, _, endpoint in judges if endpoint is not None]
    return ByForm(signed, endpoints[0] if len(endpoints) == 1 else None)


def _by_keys(config: IssuerConfig) -> OAuth2Authenticator | None:
    if config.jwks is None:
        return None
    token = config.jwks.token
    return OAuth2Authenticator(
        OAuth2Settings(
            jwks_uri=config.jwks.uri,
            issuer=config.issuer,
            audience=config.audience,
            jwks_token=None if token is None else token.get_secret_value(),
            key_recheck_seconds=config.jwks.key_recheck_period,
            tls_cafile=config.tls_cafile,
            verify_tls=config.verify_tls,
            claims_mapping=_mapping(config),
        )
    )


def _by_introspection(config: IssuerConfig) -> Remembering | None:
    asked = config.introspection
    if asked is None:
        return None
    settings = IntrospectionSettings(
        asked.url, asked.client_id, asked.client_secret.get_secret_value(), asked.send_secret_in_body
    )
    rules = TokenRules(config.issuer, config.audience)
    validator = IntrospectionValidator(settings, rules, _mapping(config), _context(config))
    return Remembering(validator, asked.recheck_period)


def _mapping(config: IssuerConfig | KubernetesConfig | GitHubConfig) -> ClaimsMapping:
    if config.claims_mapping is not None:
        return ClaimsMapping(config.claims_mapping)
    kind = "oauth2_token" if isinstance(config, IssuerConfig) else config.type
    return ClaimsMapping(default_claims(kind), is_default=True)


def _context(config: IssuerConfig | KubernetesConfig | GitHubConfig | CustomConfig) -> ssl.SSLContext:
    return client_context(config.tls_cafile, verify=config.verify_tls)
