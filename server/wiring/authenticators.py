"""Building of the authenticator that a configuration describes."""

from __future__ import annotations

import ssl
from functools import partial

from policy.claims import default_claims, subject_claim
from server.authn import Authenticator
from server.authn.api_keys import ApiKeyValidator
from server.authn.attributes import ClaimsMapping
from server.authn.caching import CachingAuthenticator
from server.authn.custom import CustomValidator
from server.authn.github import GitHubValidator
from server.authn.introspection import IntrospectionSettings, IntrospectionValidator
from server.authn.kubernetes import KubernetesValidator
from server.authn.limits import KNOWN_KEYS, UNKNOWN_KEYS
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from server.authn.pseudonyms import kept_key, pseudonym
from server.authn.tally import Tallies
from server.authn.token_router import TokenRouter
from server.authn.token_rules import TokenRules
from server.config import AuthConfig
from server.config.auth import (
    ApiKeyConfig,
    CustomConfig,
    GitHubConfig,
    IssuerConfig,
    KubernetesConfig,
    OAuth2Config,
)
from server.config.home import home
from server.net.tls import client_context
from server.wiring.preflight import key_store


def authenticator(config: AuthConfig, tallies: Tallies | None = None) -> Authenticator | None:
    """Build the authenticator; None where authentication is not configured.

    `tallies` counts which mapped claims their tokens have. Raises ValueError and `PseudonymKeyUnusable`, with a
    sentence, for settings that can't work.
    """
    match config.provider_config:
        case None:
            return None
        case OAuth2Config() as oauth2:
            return _oauth2(oauth2, tallies)
        case KubernetesConfig() as kubernetes:
            url, mapping = kubernetes.api_server_url, _mapping(kubernetes, kubernetes.type, tallies)
            return CachingAuthenticator(
                KubernetesValidator(url, mapping, _context(kubernetes)), kubernetes.recheck_period
            )
        case GitHubConfig() as github:
            url, mapping = github.github_api_base_url, _mapping(github, github.type, tallies)
            return CachingAuthenticator(GitHubValidator(url, mapping, _context(github)), github.recheck_period)
        case CustomConfig() as custom:
            secret = custom.name_key
            key = kept_key(home()) if secret is None else secret.get_secret_value().encode()
            named = partial(pseudonym, key)
            return CachingAuthenticator(
                CustomValidator(custom.endpoint, named, _context(custom)), custom.recheck_period
            )
        case ApiKeyConfig() as keys:
            return CachingAuthenticator(
                ApiKeyValidator(key_store(keys)), keys.recheck_period, known=KNOWN_KEYS, unknown=UNKNOWN_KEYS
            )


def _oauth2(config: OAuth2Config, tallies: Tallies | None) -> Authenticator:
    """Return the authenticator of one issuer with keys alone; else a router between several."""
    issuers: tuple[IssuerConfig, ...] = config.issuers or (config,)
    mapped = [(issuer, _mapping(issuer, config.type, tallies)) for issuer in issuers]
    judges = [(issuer, _by_keys(issuer, to), _by_introspection(issuer, to)) for issuer, to in mapped]
    if len(judges) == 1 and judges[0][1] is not None and judges[0][2] is None:
        return judges[0][1]
    signed: dict[str | None, Authenticator] = {}
    for issuer, keys, endpoint in judges:
        judge = keys or endpoint
        if judge is not None:
            signed[issuer.issuer if config.issuers else None] = judge
    # A token that names no issuer can be checked only where there is one endpoint.
    endpoints = [endpoint for _, _, endpoint in judges if endpoint is not None]
    return TokenRouter(signed, endpoints[0] if len(endpoints) == 1 else None)


def _by_keys(config: IssuerConfig, mapping: ClaimsMapping) -> OAuth2Authenticator | None:
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
            claims_mapping=mapping,
            jwks_token_file=config.jwks.token_file,
            allow_http=config.allow_http,
            leeway=config.leeway,
        )
    )


def _by_introspection(config: IssuerConfig, mapping: ClaimsMapping) -> CachingAuthenticator | None:
    asked = config.introspection
    if asked is None:
        return None
    secret = "" if asked.client_secret is None else asked.client_secret.get_secret_value()
    settings = IntrospectionSettings(
        asked.url, asked.client_id, asked.client_secret_file or secret, asked.send_secret_in_body
    )
    rules = TokenRules(config.issuer, config.audience, config.leeway)
    validator = IntrospectionValidator(settings, rules, mapping, _context(config))
    return CachingAuthenticator(validator, asked.recheck_period)


def _mapping(
    config: IssuerConfig | KubernetesConfig | GitHubConfig, kind: str, tallies: Tallies | None
) -> ClaimsMapping:
    """Return the mapping of an issuer, or of a provider of that `kind`; one without an issuer counts under its kind."""
    is_default = config.claims_mapping is None
    pairs = config.claims_mapping if config.claims_mapping is not None else default_claims(kind)
    splits = isinstance(config, IssuerConfig) and config.split_claims
    if tallies is None:
        return ClaimsMapping(pairs, is_default, splits=splits)
    named = (config.issuer if isinstance(config, IssuerConfig) else None) or kind
    tally = tallies.of(named, pairs, subject_claim(kind), is_default=is_default)
    return ClaimsMapping(pairs, is_default, tally, splits)


def _context(config: IssuerConfig | KubernetesConfig | GitHubConfig | CustomConfig) -> ssl.SSLContext:
    return client_context(config.tls_cafile, verify=config.verify_tls)


def services(config: AuthConfig) -> list[str]:
    """Return the URLs of the services that are asked about tokens, without files."""
    found: list[str] = []
    match config.provider_config:
        case OAuth2Config() as oauth2:
            for issuer in oauth2.issuers or (oauth2,):
                found += [] if issuer.jwks is None else [issuer.jwks.uri]
                found += [] if issuer.introspection is None else [issuer.introspection.url]
        case KubernetesConfig(api_server_url=url) | GitHubConfig(github_api_base_url=url) | CustomConfig(endpoint=url):
            found.append(url)
    return [url for url in found if not url.startswith("file:")]
