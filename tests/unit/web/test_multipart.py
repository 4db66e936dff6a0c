from contextlib import closing

import pytest

from reworker.web.errors import HttpProblem
from reworker.web.multipart import HEADER_BYTES, MultipartForm

TYPE = "multipart/form-data; boundary=b_$1"
BODY = (
    b'preamble\r\n--b_$1\r\nContent-Disposition: form-data; name="file"; filename="a b.zip"\r\n'
    b"Content-Type: application/zip\r\n\r\nPK\r\n--b_$\r\n\x00\r\n--b_$1x\r\n"
    b"\r\n--b_$1\r\ncontent-disposition: form-data; name=data\r\n\r\n\r\n--b_$1--\r\nepilogue"
)


def fed(form, body, step):
    for place in range(0, len(body), step):
        form.feed(body[place : place + step])
    form.end()


@pytest.mark.parametrize("step", [1, 2, 3, 7, 50, 1000])
def test_parts_are_whole_however_they_come(step):
    form = MultipartForm(TYPE)
    fed(form, BODY, step)
    file, data = form.parts
    assert (file.name, file.file_name, file.content_type) == ("file", "a b.zip", "application/zip")
    assert file.file.read() == b"PK\r\n--b_$\r\n\x00\r\n--b_$1x\r\n"
    assert (data.name, data.file_name, data.text()) == ("data", None, "")
    assert form.part("data") is data
    assert form.part("other") is None
    form.close()
    form.close()


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "x; boundary=" + "b" * 71]
)
def test_form_without_a_boundary_is_refused(content_type):
    with pytest.raises(HttpProblem, match="boundary"):
        MultipartForm(content_type)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "ends within"),
        (b"--b_$1\r\nContent-Disposition: form-data; name=a\r\n\r\nno end", "ends within"),
        (b"--b_$1\r\nno header\r\n\r\n\r\n--b_$1--", "header that is none"),
        (b"--b_$1\r\nX: y\r\n\r\n\r\n--b_$1--", "no name"),
        (b"--b_$1\r\nX: " + b"y" * HEADER_BYTES + b"\r\n\r\n", "headers of more"),
        (b"--b_$1\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n" * 101, "more than 100 parts"),
    ],
)
@pytest.mark.parametrize("step", [5, 100_000])
def test_form_that_is_none_is_refused(body, reason, step):
    with closing(MultipartForm(TYPE)) as form, pytest.raises(HttpProblem, match=reason):
        fed(form, body, step)


@pytest.mark.parametrize(
    ("value", "limit_bytes", "reason"), [(b"\xff", 9, "not UTF-8"), (b"long", 3, "longer than 3 bytes")]
)
def test_text_that_is_none_is_refused(value, limit_bytes, reason):
    head = b"--b_$1\r\nContent-Disposition: form-data; name=a\r\n\r\n"
    with closing(MultipartForm(TYPE)) as form:
        fed(form, head + value + b"\r\n--b_$1--", 9)
        with pytest.raises(HttpProblem, match=reason):
            form.part("a").text(limit_bytes)
