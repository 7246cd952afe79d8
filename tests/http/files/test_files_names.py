"""What clients call their files, and what they say is in them: text that is kept, and believed by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.files_server import Keeping, field, form_of, keeping, parts_of


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


def named(parameters: str) -> bytes:
    """A form whose file has these parameters."""
    head = f'Content-Disposition: form-data; name="file"{parameters}\r\nContent-Type: text/plain'
    return parts_of([field("purpose", "assistants"), (head, b"x")])


@pytest.mark.parametrize(
    ("parameters", "kept_as"),
    [
        ("; filename*=UTF-8''na%C3%AFve%20plan.txt", "naïve plan.txt"),
        ("; filename*=utf-8'en'plan.txt", "plan.txt"),
        ("; filename=\"plan.txt\"; filename*=UTF-8''pl%C3%A4ne.txt", "pläne.txt"),
        ("; filename*=UTF-8''pl%C3%A4ne.txt; filename=\"plan.txt\"", "pläne.txt"),
        ("; FileName*=iso-8859-1''pl%E4ne.txt", "pläne.txt"),
        ('; filename="=?utf-8?B?cGzDpG5lLnR4dA==?="', "pläne.txt"),
        ('; filename="=?UTF-8?Q?pl=C3=A4ne_1.txt?="', "pläne 1.txt"),
        ('; filename="=?iso-8859-1?q?pl=E4?= =?utf-8?b?bmUudHh0?="', "pläne.txt"),
        ("; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", "passwd"),
        ('; filename="a filename*=b.txt"', "a filename*=b.txt"),
        ('; filename="=?x?"', "=?x?"),
    ],
)
def test_a_name_may_be_written_in_other_ways(kept: Keeping, parameters: str, kept_as: str) -> None:
    assert kept.upload(named(parameters)).json["filename"] == kept_as


@pytest.mark.parametrize(
    "parameters",
    [
        "; filename*=plan.txt",
        "; filename*=UTF-8''pl%C3ne.txt",
        "; filename*=UTF-8''pl%C",
        "; filename*=klingon''plan.txt",
        "; filename*=idna''plan.txt",
        "; filename*=\"UTF-8''plan.txt\"",
        "; filename*0*=UTF-8''pl; filename*1=ne.txt",
        "; filename*=UTF-8''a; filename*=UTF-8''b",
        '; filename="=?utf-8?B?broken!?="',
        '; filename="=?utf-8?B?/w==?="',
        '; filename="=?klingon?Q?x?="',
        "; filename*=UTF-8''%00",
        "; filename*=UTF-8''",
    ],
)
def test_a_name_that_can_not_be_read_is_refused_and_not_garbled(clean: Keeping, parameters: str) -> None:
    answer = clean.upload(named(parameters))
    assert answer.status == 400
    assert answer.error["message"]
