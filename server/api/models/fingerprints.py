"""Fingerprints: what tells an embedding model from another one that has its name later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Final

from server.api.models.model import Model
from server.inference.provider import Provider

_DIGITS: Final = 32


class Fingerprints:
    """Makes fingerprints: of the type of the provider, of its name for the model, and of the files of a model that
    runs on this machine. These are read once for each provider, as is the model; belongs to one event loop.
    """

    def __init__(self) -> None:
        self._digests: dict[str, asyncio.Task[str | None]] = {}

    async def of(self, provider: Provider, model: Model) -> str | None:
        """Return the fingerprint of the provider's model; None where its files can't be read."""
        files = provider.files()
        named = f"{provider.kind} {model.provider_model_id}"
        if not files:
            return named
        task = self._digests.get(model.provider_id)
        if task is None or (task.done() and task.result() is None):
            task = self._digests[model.provider_id] = asyncio.create_task(asyncio.to_thread(_digest, files))
        digest = await asyncio.shield(task)
        return None if digest is None else f"{named} {digest}"


def _digest(files: Sequence[Path]) -> str | None:
    whole = sha256()
    try:
        for path in files:
            with path.open("rb") as file:
                whole.update(file_digest(file, "sha256").digest())
    except OSError:
        return None
    return whole.hexdigest()[:_DIGITS]
