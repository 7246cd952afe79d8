"""What clients call their files, and what they say is in them: text that is kept, and believed by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.files_server import Keeping, form_of, keeping


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeping]:
    with keeping(opa_binary, tmp_path_factory.mktemp("names")) as running:
        yield running


@pytest.mark.parametrize(
    ("sent", "kept_as"),
    [
        ("../../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("C:\\Windows\\CON", "CON"),
        ("\\\\host\\share\\x.txt", "x.txt"),
        ("a/b\\c", "c"),
        (" spaced .txt ", "spaced .txt"),
        ("%2e%2e%2fx", "%2e%2e%2fx"),
        ("a%0d%0aX-Evil: 1", "a%0d%0aX-Evil: 1"),
        ("a%22; filename=%22b.exe", "a%22; filename=%22b.exe"),
        ('a\\"; x=\\"b', 'a"; x="b'),
        ("é" * 255, "é" * 255),
        ("Bild 3.45.00\u202fPM.png", "Bild 3.45.00\u202fPM.png"),
        (".htaccess", ".htaccess"),
        ("a;b=c,d", "a;b=c,d"),
    ],
)
def test_a_name_is_text_and_nothing_else(kept: Keeping, sent: str, kept_as: str) -> None:
    shown = kept.upload(form_of(b"x", sent)).json
    assert shown["filename"] == kept_as
    fetched = kept.get(f"/{shown['id']}/content")
    disposition = fetched.headers["content-disposition"]
    assert disposition.isascii()
    plain, _, encoded = disposition.partition("; filename*=UTF-8''")
    assert plain.startswith('attachment; filename="') and plain.endswith('"')
    assert plain.count('"') == 2 and not set(plain[22:-1]) & set('\\/%\r\n"')
    assert unquote(encoded) == kept_as
    assert not set(encoded) & set('";,\\/ \r\n')
    assert "x-evil" not in fetched.headers
    assert [name for name in kept.on_disk() if not name.startswith("file-")] == []


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "a/..", "a/", "x\\", "n" * 256, "a\x00b", "a\x1b[31m", "a\x7f", "a\u2028b", "a\u202egnp.exe"],
)
def test_a_name_that_is_none_is_refused(clean: Keeping, name: str) -> None:
    answer = clean.upload(form_of(b"x", name))
    assert answer.status == 400


@pytest.mark.parametrize("line", ["\r\nX-Evil: 1", "\nX-Evil: 1", "\rX-Evil: 1"])
def test_a_line_break_in_a_name_is_refused(clean: Keeping, line: str) -> None:
    assert clean.upload(form_of(b"x", f"a{line}")).status == 400


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("text/plain", "text/plain"),
        ("TEXT/CSV; charset=utf-7", "text/csv"),
        ("application/pdf", "application/pdf"),
        ("image/png", "image/png"),
        *(
            (kind, "application/octet-stream")
            for kind in (
                "text/html",
                "image/svg+xml",
                "application/xhtml+xml",
                "text/xml",
                "text/javascript",
                "multipart/mixed",
                "x",
                "text/plain/html",
                "text/plain\tX: 1",
                "a" * 200 + "/b",
            )
        ),
    ],
)
def test_no_content_is_shown_by_a_browser(kept: Keeping, sent: str, answered: str) -> None:
    made = kept.kept(b"<script>alert(1)</script>", kind=sent)
    headers = kept.get(f"/{made}/content").headers
    assert headers["content-type"] == answered
    assert headers["content-disposition"].startswith("attachment;")
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
