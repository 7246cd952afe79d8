"""The files that a batch makes of its results, as files of its owner."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from server.api.batches.held import HeldBatch
from server.api.batches.parts import ERRORS, OUTPUTS, BatchParts
from server.api.files.store import FileStore, new_file_id
from server.authz.request_authorization import Gate

PURPOSE: Final = "batch_output"

LIFETIME: Final = 30 * 24 * 3600
"""Seconds after which the files of a batch expire for which its request says nothing else."""

_TYPE: Final = "application/jsonl"


async def make_files(held: HeldBatch, parts: BatchParts, files: FileStore, gate: Gate) -> None:
    """Make those files that there is something for and that are not made yet.

    The policy is asked whether the owner may create them. What they hold counts with the owner already, and room for
    their records is kept, so that no limit of what it may keep is in the way. Raises AccessDenied, BlobsUnavailable,
    and what the transactions raise.
    """
    if held.progress.outputs and not held.progress.output_file:
        await _make(held, parts, files, gate, is_error=False)
    if held.progress.errors and not held.progress.error_file:
        await _make(held, parts, files, gate, is_error=True)


async def _make(held: HeldBatch, parts: BatchParts, files: FileStore, gate: Gate, *, is_error: bool) -> None:
    identity, record, progress = new_file_id(), held.record, held.progress
    creation = await files.records.permit_create(gate, made=[identity], limited=False)
    first, count = (ERRORS, progress.errors) if is_error else (OUTPUTS, progress.outputs)
    name = f"{record.id}_{'error' if is_error else 'output'}.jsonl"
    lifetime = record.body["lifetime"]
    async with files.uploading(identity, creation) as upload:
        for number in range(count):
            await upload.write(await parts.result(record, first + number))
        described = {"filename": name, "content_type": _TYPE, "purpose": PURPOSE}
        made = replace(progress, error_file=identity) if is_error else replace(progress, output_file=identity)
        async with held.changing(made) as step:
            beside = [step, *parts.giving_room(record, "error_file" if is_error else "output_file")]
            await upload.keep(described, PURPOSE, LIFETIME if lifetime is None else lifetime, beside)
