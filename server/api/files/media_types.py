"""Media types of files, by their names: those that providers read, and nothing that depends on the machine."""

from __future__ import annotations

from typing import Final

ANY: Final = "application/octet-stream"
"""The type of a file about which nothing is known."""

IMAGES: Final = ("image/gif", "image/jpeg", "image/png", "image/webp")
"""The types of images that models look at."""

_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_TYPES: Final = {
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": f"{_OFFICE}.wordprocessingml.document",
    "gif": "image/gif",
    "htm": "text/html",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "md": "text/markdown",
    "mp3": "audio/mpeg",
    "odt": "application/vnd.oasis.opendocument.text",
    "pdf": "application/pdf",
    "png": "image/png",
    "ppt": "application/vnd.ms-powerpoint",
    "pptx": f"{_OFFICE}.presentationml.presentation",
    "rtf": "application/rtf",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "wav": "audio/wav",
    "webp": "image/webp",
    "xls": "application/vnd.ms-excel",
    "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
}
_TEXTS: Final = frozenset(
    {"application/json", "application/jsonl", "application/x-ndjson", "application/xml", "application/yaml"}
)


def is_text(kind: str) -> bool:
    """Return whether files of a type are text."""
    return kind.startswith("text/") or kind in _TEXTS


def media_type(filename: str, told: str | None) -> str:
    """Return the type that the end of a name stands for; else the one that was `told` with the upload, or `ANY`."""
    return _TYPES.get(filename.rpartition(".")[2].lower()) or told or ANY
