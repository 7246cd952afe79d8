"""The head of a form's part: one reading, or none."""

from __future__ import annotations

import pytest

from server.http.errors import ApiError
from server.http.multipart import FormReader, PartBegins, PartEnds, PartEvent

NAMED = b'Content-Disposition: form-data; name="file"; filename="x"'


def events(*lines: bytes) -> list[PartEvent]:
    reader = FormReader("multipart/form-data; boundary=b")
    found = reader.feed(b"--b\r\n" + b"\r\n".join(lines) + b"\r\n\r\ncontent\r\n--b--\r\n")
    reader.finish()
    return found


@pytest.mark.parametrize(
    "more",
    [
        (),
        (b"Content-Transfer-Encoding: binary",),
        (b"Content-Transfer-Encoding: 8BIT",),
        (b"content-transfer-encoding: 7bit",),
        tuple(b"x-%d: y" % number for number in range(7)),
        (b"x-long: " + b"y" * 4000,),
    ],
)
def test_a_part_with_one_reading_is_read(more: tuple[bytes, ...]) -> None:
    begins, content, ends = events(NAMED, *more)
    assert (begins, bytes(content), ends) == (PartBegins("file", "x", None), b"content", PartEnds())  # type: ignore[arg-type]  # the second is bytes


@pytest.mark.parametrize(
    "lines",
    [
        (NAMED, NAMED),
        (NAMED, b'Content-Disposition: form-data; name="purpose"'),
        (NAMED, b"Content-Type: text/plain", b"content-type: text/html"),
        (NAMED, b"x-own: 1", b"X-Own: 2"),
        (NAMED, b"Content-Transfer-Encoding: base64"),
        (NAMED, b"Content-Transfer-Encoding: quoted-printable"),
        (b'Content-Disposition: form-data; name="file"; name="purpose"; filename="x"',),
        (b'Content-Disposition: form-data; name="file"; filename="x"; FILENAME="y"',),
        (b'Content-Disposition: form-data; name="file"; filename="x"; filename=y',),
        (b'Content-Disposition: form-data; filename="x"',),
        (b'Content-Disposition: attachment; name="file"; filename="x"',),
        (b"Content-Type: text/plain",),
        (NAMED, *(b"x-%d: y" % number for number in range(8))),
        (NAMED, b"x-long: " + b"y" * 4200),
    ],
)
def test_a_part_with_two_readings_or_a_head_too_large_is_refused(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(ApiError) as refused:
        events(*lines)
    assert refused.value.status == 400
    assert refused.value.message.startswith("the body is not a form that can be read: ")
