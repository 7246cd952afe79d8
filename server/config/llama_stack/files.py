"""Providers of files: their bytes go to `storage.blobs`, their records to `storage.stores.files`."""

from __future__ import annotations

from typing import Final

from policy.source.diagnostics import quoted
from policy.source.document import Entry, Mapping, Node
from policy.source.environment import has_expression
from server.config.llama_stack.changes import Journal, Kind
from server.config.llama_stack.nodes import Entries, below, entries, is_nothing, items, plain_text, text_of
from server.config.llama_stack.storage import Storage

_LOCAL: Final = "inline::localfs"
_BUCKET: Final = "remote::s3"
_KINDS: Final = {_LOCAL: "local", _BUCKET: "s3"}
_KEYS: Final = {
    _LOCAL: {"storage_dir": "path"},
    _BUCKET: {
        "bucket_name": "bucket",
        "region": "region",
        "endpoint_url": "endpoint",
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
    },
}
IGNORED: Final = {
    "auto_create_bucket": "is not done here: the bucket has to exist",
    "ttl_secs": "is not needed: a file ends when its `expires_after` says so",
}
"""Keys that are left out without a change for callers, and why."""


class Files:
    """Translates the providers of files."""

    def __init__(self, storage: Storage, journal: Journal) -> None:
        self._storage = storage
        self._journal = journal

    def translate(self, entry: Entry) -> None:
        """Put what the first provider says into the storage; the others are reported."""
        found = [entry.node] if isinstance(entry.node, Mapping) else list(items(entry.node))
        taken = False
        for node in (one for one in found if not self._journal.is_off(one)):
            kind = text_of(below(node, "provider_type")) or ""
            if kind not in _KINDS:
                advice = f"files are kept in a directory or a bucket: {quoted(_LOCAL)}, {quoted(_BUCKET)}"
                self._journal.lacks(node.span, f"the provider of files {quoted(kind)}", advice)
            elif has_expression(text_of(below(node, "provider_id")) or ""):
                sentence = f"a provider of files ({quoted(kind)}) that a variable switches on"
                self._journal.lacks(node.span, sentence, "write `storage.blobs` for the one that is used")
            elif taken:
                self._journal.lacks(node.span, "a second provider of files", "one place holds all files")
            elif self._storage.blobs is not None:
                self._journal.refuse(node.span, "`storage.blobs` says already where files are", "leave one of them out")
            else:
                self._take(node, kind)
                taken = True

    def _take(self, node: Node, kind: str) -> None:
        settings = entries(below(node, "config"))
        blobs: Entries = {"type": Entry(node.span, plain_text(_KINDS[kind], node.span))}
        for key, entry in settings.items():
            if key in _KEYS[kind]:
                if not is_nothing(entry.node):
                    blobs[_KEYS[kind][key]] = entry
            elif key == "metadata_store":
                self._storage.keep_files(entry)
            elif key in IGNORED:
                self._journal.add(Kind.IGNORED, entry.key_span, f"{quoted(key)} {IGNORED[key]}")
            else:
                sentence = f"{quoted(key)} is not a setting of files here"
                self._journal.add(Kind.NOT_SERVED, entry.key_span, sentence, "it is left out")
        self._storage.blobs = Entry(node.span, Mapping(blobs, node.span))
        self._journal.add(Kind.MOVED, node.span, f"the provider of files ({quoted(kind)}) is `storage.blobs`")
