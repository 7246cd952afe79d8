"""Failures for refusals of a provider."""

from __future__ import annotations

from collections.abc import Mapping

from server.inference.provider import ProviderFailed
from server.inference.providers.refusals import refusal_of, told_by


def provider_refusal(provider_id: str, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailed:
    """The failure for an answer with this status and body."""
    return refusal_of(provider_id, status, headers, told_by(body))
