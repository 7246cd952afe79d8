"""Files of Office and PDF files, made part by part, so that any part can be wrong."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def archive(
    members: Mapping[str, str | bytes] | Sequence[tuple[str | ZipInfo, str | bytes]], *, stored: bool = False
) -> bytes:
    """Return a ZIP archive."""
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_STORED if stored else ZIP_DEFLATED) as made:
        for name, content in members.items() if isinstance(members, Mapping) else members:
            made.writestr(name, content)
    return file.getvalue()


def relations(*given: tuple[str, str, str]) -> str:
    """Return the relations of a part, each an id, a kind and a target."""
    shown = "".join(
        [f'<Relationship Id="{each}" Type="{_RELATIONS}/{kind}" Target="{target}"/>' for each, kind, target in given]
    )
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{shown}</Relationships>'
    )


def package(main: str, members: Mapping[str, str | bytes]) -> bytes:
    """Return a file of Office with this main part."""
    return archive({"_rels/.rels": relations(("r1", "officeDocument", main)), **members})


def docx(body: str, **more: str | bytes) -> bytes:
    """Return a document with this XML as its body."""
    document = f"<w:document {W}><w:body>{body}</w:body></w:document>"
    return package("word/document.xml", {"word/document.xml": document, **more})


def paragraph(text: str) -> str:
    """Return a paragraph of a document."""
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


_SPACES = " ".join(
    [
        f'xmlns:{prefix}="urn:{prefix}"'
        for prefix in ("office", "text", "table", "draw", "style", "dc", "svg", "presentation")
    ]
)


def opendocument(kind: str, body: str, styles: str = "", more: Mapping[str, str] | None = None) -> bytes:
    """Return an OpenDocument file of a kind, such as `text`, with this XML as its body."""
    return archive(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": f"<office:document-content {_SPACES}>{body}</office:document-content>",
            "styles.xml": f"<office:document-styles {_SPACES}>{styles}</office:document-styles>",
            **(more or {}),
        }
    )


def epub(
    pages: Mapping[str, str | bytes | None],
    order: Sequence[str] | None = None,
    more: Mapping[str, str] | None = None,
) -> bytes:
    """Return a book with these pages; one that is None stands in its list alone."""
    kinds = {"svg": "image/svg+xml"}
    items = "".join(
        f'<item id="{name}" href="{name.replace(" ", "%20")}" '
        f'media-type="{kinds.get(name.rpartition(".")[2], "application/xhtml+xml")}"/>'
        for name in pages
    )
    spine = "".join(f'<itemref idref="{name}"/>' for name in order or pages)
    return archive(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfile full-path="OPS/book.opf"/></container>',
            "OPS/book.opf": f"<package><manifest>{items}</manifest><spine>{spine}</spine></package>",
            **{f"OPS/{name}": content for name, content in pages.items() if content is not None},
            **(more or {}),
        }
    )


def pdf(objects: Sequence[bytes], *, trailer: bytes = b"") -> bytes:
    """Return a PDF file of these objects, the first of which is its catalog."""
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join([b"%010d 00000 n \n" % place for place in places])
    out += b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
    return bytes(out)


def stream(content: bytes, entries: bytes = b"") -> bytes:
    """Return a stream of a PDF file."""
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), entries, content)


def deflated(content: bytes, entries: bytes = b"") -> bytes:
    """Return a compressed stream of a PDF file."""
    return stream(zlib.compress(content), b"/Filter /FlateDecode " + entries)


def shown(text: bytes) -> bytes:
    """Return the content of a page that shows a text."""
    return b"BT /F1 12 Tf 72 700 Td (%s) Tj ET" % text


FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
RESOURCES = b"/MediaBox [0 0 600 800] /Resources << /Font << /F1 3 0 R >> >>"


def pages(*contents: bytes) -> list[bytes]:
    """Return the objects of a PDF file whose pages have these streams as their contents."""
    kids = b" ".join([b"%d 0 R" % (4 + 2 * number) for number in range(len(contents))])
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(contents)),
        FONT,
    ]
    for number, content in enumerate(contents):
        objects += [b"<< /Type /Page /Parent 2 0 R %s /Contents %d 0 R >>" % (RESOURCES, 5 + 2 * number), content]
    return objects
