"""Bodies, file names and addresses that a program would trip over: JSON bombs, broken forms, ways out of a folder."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile_service import BOUNDARY, FORM, Answer, RunningService, form, picture_part, running_service
from photos import photo, saved

PICTURE = saved(photo(), "JPEG")
BASE64 = b64encode(PICTURE)
MARKER = "openblip-was-here"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("bodies"), threads=1) as service:
        yield service


@pytest.fixture(autouse=True)
def _still_well(service: RunningService) -> Iterator[None]:
    yield
    service.check_health()


def with_picture(rest: bytes) -> bytes:
    return b'{"images":["' + BASE64 + b'"],' + rest + b"}"


JSON = {
    "nothing": b"",
    "nul": bytes(100),
    "open-brackets": b"[" * 100_000,
    "brackets": b'{"images":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "options": with_picture(b'"options":' + b'{"a":' * 500 + b"1" + b"}" * 500),
    "digits": with_picture(b'"options":{"seed":' + b"9" * 100_000 + b"}"),
    "large-number": with_picture(b'"options":{"max_length":' + b"9" * 4000 + b"}"),
    "exponent": with_picture(b'"options":{"max_length":1e400}'),
    "option-of-text": with_picture(b'"options":{"num_beams":"3"}'),
    "option-of-truth": with_picture(b'"options":{"diversity_penalty":false}'),
    "nan": with_picture(b'"options":{"length_penalty":NaN}'),
    "infinity": with_picture(b'"options":{"sample":true,"temperature":Infinity}'),
    "minus-infinity": with_picture(b'"options":{"sample":true,"top_p":-Infinity}'),
    "surrogate-prompt": with_picture(b'"prompt":"\\ud800"'),
    "surrogate-model": with_picture(b'"model":"\\udfff"'),
    "surrogate-key": with_picture(b'"\\ud800":"1"'),
    "surrogate-picture": b'{"images":["\\ud800"]}',
    "long-key": with_picture(b'"' + b"k" * 1_000_000 + b'":1'),
    "long-model": with_picture(b'"model":"' + b"k" * 1_000_000 + b'"'),
    "long-prompt": with_picture(b'"prompt":"' + b"k" * 1_000_000 + b'"'),
    "many-keys": with_picture(b",".join(b'"k%d":1' % number for number in range(100_000))),
    "many-pictures": b'{"images":[' + b'"",' * 100_000 + b'""]}',
    "not-utf-8": b'{"images":["\xff\xfe"]}',
    "half-utf-16": b"\xff\xfe{",
    "null": b"null",
    "text": b'"images"',
    "list": b"[]",
    "null-picture": b'{"images":[null]}',
    "number-picture": b'{"images":[1]}',
    "address": b'{"images":["https://127.0.0.1/"]}',
    "file-address": b'{"images":["file:///etc/passwd"]}',
    "data-url": b'{"images":["data:image/png,x"]}',
    "data-url-bomb": b'{"images":["data:' + b";base64," * 100_000 + b'"]}',
    "base64": b'{"images":["' + b"=" * 1_000_000 + b'"]}',
}


@pytest.mark.parametrize("body", JSON.values(), ids=JSON)
def test_hostile_json_is_a_problem_of_bounded_length(service: RunningService, body: bytes) -> None:
    for task in ("caption", "analyze"):
        check_refused(service.post(task, body))


def check_refused(answer: Answer) -> None:
    assert answer.status in (400, 404, 413, 422), answer
    assert len(answer.problem["detail"]) < 1100
    assert not any(word in answer.problem["detail"] for word in ("Traceback", ".py", "recursion", "sys."))


def test_of_a_key_that_is_there_twice_the_last_counts(service: RunningService) -> None:
    assert service.post("caption", b'{"images":["!"],"images":["' + BASE64 + b'"]}').status == 200


@pytest.mark.parametrize("value", [b"[]", b"{}", b"0", b'""', b'{"a":[]}', b"null"])
def test_many_small_values_take_little(service: RunningService, value: bytes) -> None:
    """As lists of Python, and as what is wrong with each, 30 MB of them would be gigabytes."""
    for count in (30_000_000 // (len(value) + 1), 190_000 // (value.count(b"{") + value.count(b"[") + 1)):
        before, started = service.peak_bytes(), time.monotonic()
        check_refused(service.post("caption", b'{"images":[' + (value + b",") * count + b"1]}"))
        check_refused(service.post("answer", with_picture(b'"answers":[' + (value + b",") * (count - 3) + b"1]")))
        assert time.monotonic() - started < 3
        assert service.peak_bytes() < before + 200_000_000


def field(name: str, value: bytes = b"x") -> tuple[str, bytes]:
    return f'content-disposition: form-data; name="{name}"', value


START = f"--{BOUNDARY}\r\n".encode()
END = f"--{BOUNDARY}--\r\n".encode()
FORMS = {
    "nothing": b"",
    "end": END,
    "rubbish": b"rubbish" * 1000,
    "no-end": form(picture_part(PICTURE))[: -len(END) - 100],
    "no-name": form(("content-disposition: form-data", b"x")),
    "no-disposition": form(("x: y", b"x")),
    "empty-name": form(field("")),
    "name-of-bytes": form(("content-disposition: form-data; name=\"\udcff\udcfe\"", b"x")),
    "long-name": form(field("k" * 100_000)),
    "long-value": form(field("prompt", b"k" * 1_000_000)),
    "field-twice": form(picture_part(PICTURE), field("model", b""), field("model", b"")),
    "unknown-field": form(picture_part(PICTURE), field("colour")),
    "header-of-bytes": START + b"\xff\xff\xff\r\n\r\nx\r\n" + END,
    "long-header": START + b"x: " + b"y" * 100_000 + b"\r\n\r\nx\r\n" + END,
    "many-headers": START + b"x: y\r\n" * 100_000 + b"\r\nx\r\n" + END,
    "fields": form(*[field("texts")] * 10_000),
    "files": form(*[picture_part(PICTURE)] * 17),
    "10,000 files": form(*[picture_part(b"x")] * 10_000),
    "no-file": form(picture_part(b"")),
    "file-as-field": form(picture_part(PICTURE), ('content-disposition: form-data; name="prompt"; filename="a"', b"x")),
    "text-as-picture": form(field("images", b"\xff\xd8\xff")),
    "options": form(picture_part(PICTURE), field("options", b"[" * 100_000)),
    "options-list": form(picture_part(PICTURE), field("options", b"[1]")),
    "nested": form(
        (
            'content-disposition: form-data; name="images"\r\ncontent-type: multipart/mixed; boundary=inner',
            b"--inner\r\ncontent-disposition: file; filename=a\r\n\r\nx\r\n--inner--",
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_hostile_forms_are_problems(service: RunningService, body: bytes) -> None:
    check_refused(service.request("POST", "/v1/caption", body, {"content-type": FORM}))


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary=" + "b" * 5000,
        "multipart/form-data; boundary=\xff",
        f"multipart/form-data; charset=nothing; boundary={BOUNDARY}",
        f"multipart/form-data; charset=hex; boundary={BOUNDARY}",
        "multipart/form-data; " + ";" * 10_000,
    ],
)
def test_forms_whose_kind_makes_no_sense(service: RunningService, kind: str) -> None:
    check_refused(service.request("POST", "/v1/caption", form(field("prompt")), {"content-type": kind}))


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "image/jpeg", "application/xml", "\xff\xfe", "application/json" * 999]
)
def test_other_kinds_are_refused(service: RunningService, kind: str) -> None:
    answer = service.request("POST", "/v1/caption", b"{}", {"content-type": kind})
    assert answer.status == 415
    assert len(answer.problem["detail"]) < 1100


FILE_NAMES = [
    "",
    "../../../../../../../../tmp/" + MARKER,
    "/tmp/" + MARKER,
    "..\\..\\" + MARKER,
    "C:\\" + MARKER,
    "\\\\server\\share\\" + MARKER,
    "~/" + MARKER,
    "file:///tmp/" + MARKER,
    MARKER + "\0.jpg",
    MARKER + "%00.jpg",
    "%2e%2e%2f" + MARKER,
    "‮gpj." + MARKER,
    "\udcff\udcfe" + MARKER,
    "$(touch /tmp/" + MARKER + ")",
    "`touch /tmp/" + MARKER + "`",
    "| touch /tmp/" + MARKER,
    "'; drop table results; --",
    "<script>alert(1)</script>",
    "CON",
    "." * 200,
    "a" * 3000,
]


@pytest.mark.parametrize("name", FILE_NAMES, ids=range(len(FILE_NAMES)))
def test_the_name_of_a_file_means_nothing(service: RunningService, name: str, tmp_path: Path) -> None:
    answer = service.upload("caption", picture_part(PICTURE, name))
    extended = picture_part(PICTURE, f"a\"; filename*=utf-8''..%2f..%2f{MARKER}%00")
    for each in (answer, service.upload("caption", extended)):
        assert each.status == 200 or each.problem["code"] in ("form", "invalid")
        assert MARKER not in each.body.decode()
    assert MARKER not in service.stderr()
    around = [service.folder, service.folder.parent, Path("/tmp"), Path.home(), Path("/")]
    assert not [path for folder in around for path in folder.glob(f"*{MARKER}*")]


def test_a_name_of_100_kilobytes_is_refused(service: RunningService) -> None:
    check_refused(service.upload("caption", picture_part(PICTURE, "a" * 100_000)))


PATHS = [
    "/%2e%2e/%2e%2e/etc/passwd",
    "/../../etc/passwd",
    "/..%2f..%2fetc%2fpasswd",
    "/..\\..\\etc\\passwd",
    "/..%5c..%5cetc%5cpasswd",
    "/....//....//etc/passwd",
    "/%c0%ae%c0%ae/etc/passwd",
    "/%252e%252e/etc/passwd",
    "//etc/passwd",
    "//healthz",
    "/healthz/",
    "/healthz%00",
    "/healthz%0d%0ax:%20y",
    "/healthz;x=y",
    "/v1/",
    "/v1//caption",
    "/V1/caption",
    "/v1/caption/../answer",
    "/%ff%fe",
    "/" + "a/" * 2000,
    "/openapi.json/..",
    "/docs/../../pyproject.toml",
    "/static/../app.py",
    "/.env",
    "/.git/config",
]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_other_paths_lead_nowhere(service: RunningService, method: str, path: str) -> None:
    [answer] = service.raw(f"{method} {path} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n".encode())
    assert answer.status == 404
    assert answer.problem["code"] == "http"
    assert "evil.example" not in str(answer)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "PURGE", "HEAD"])
def test_other_methods_are_answered_405_with_those_allowed(service: RunningService, method: str) -> None:
    answer = service.request(method, "/v1/caption")
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    if method != "HEAD":
        assert answer.problem["title"] == "Method Not Allowed"
    assert service.request("POST", "/healthz").status == 405


def test_figures_do_not_grow_with_what_is_asked(service: RunningService) -> None:
    """Otherwise every address that anybody tries would be kept for ever."""
    service.get("/first")
    before = len(service.get("/metrics").body.splitlines())
    for number in range(100):
        service.get(f"/nowhere/{number}")
    assert len(service.get("/metrics").body.splitlines()) == before


def test_the_log_has_one_line_a_request_whatever_its_path_holds(service: RunningService) -> None:
    service.raw(b"GET /a%0a%7b%22level%22:%20%22forged%22%7d HTTP/1.1\r\nconnection: close\r\n\r\n")
    lines = [json.loads(line) for line in service.stderr().splitlines()]
    assert "forged" not in {line["level"] for line in lines}


def test_an_identity_that_could_forge_a_header_or_a_log_is_replaced(service: RunningService) -> None:
    for given in ("a b", "é", "a" * 65, "x\ty", "{}"):
        answer = service.request("GET", "/healthz", headers={"x-request-id": given})
        assert answer.headers["x-request-id"].isalnum()
        assert answer.headers["x-request-id"] != given
    assert service.request("GET", "/healthz", headers={"x-request-id": "mine1"}).headers["x-request-id"] == "mine1"
