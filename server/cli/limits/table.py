"""All limits in the order of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.cli.limits import (
    background,
    batches,
    models,
    policy,
    records,
    requests,
    responses,
    safety,
    tools,
    vector_indexes,
    vector_stores,
    websockets,
)
from server.cli.limits.row import Limit

LIMITS: Final[Sequence[Limit]] = (
    *requests.REQUESTS,
    *websockets.LIMITS,
    *records.PARTS,
    *responses.ASKED,
    *tools.CALLS,
    *background.LIMITS,
    *batches.LIMITS,
    *tools.GROUPS,
    *responses.ANSWERED,
    *records.KEPT,
    *models.TEXTS,
    *records.REGISTERED,
    *vector_stores.FILES,
    *requests.BODIES,
    *records.WRITTEN_LATER,
    *policy.LIMITS,
    *models.PROVIDERS,
    *vector_indexes.LIMITS,
    *vector_stores.WORK,
    *safety.LIMITS,
    *models.CHOICES,
    *requests.LARGE_AND_SLOW,
)
"""Hard limits, and shares whose numbers depend on the configuration."""

CONSTANTS: Final[dict[str, Any]] = {
    **background.CONSTANTS,
    **batches.CONSTANTS,
    **models.CONSTANTS,
    **policy.CONSTANTS,
    **records.CONSTANTS,
    **requests.CONSTANTS,
    **responses.CONSTANTS,
    **safety.CONSTANTS,
    **tools.CONSTANTS,
    **vector_indexes.CONSTANTS,
    **vector_stores.CONSTANTS,
    **websockets.CONSTANTS,
}
"""Modules by the names that rows give them. A name means the same module in every file of rows."""
