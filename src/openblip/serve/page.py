"""The page at the root: what `make page` built, as static files. Knows files and headers, no task.

The few files are read once and each has a route of its own, so that no address can lead outside of them. Browsers keep
hashed files for good, and ask anew for the page itself, whose Content-Security-Policy names the SHA-256 of each script
in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

BUILT = Path(__file__).parent / "built_page"
_INDEX, _POLICIES = "index.html", "policy.json"
_HASHED = "_next/static/"
_ENCODINGS = {"br": ".br", "gzip": ".gz"}  # the better one first
_UNBUILT = """openblip serves here; its page is not built.

In a checkout "make page" builds it (Node 20.9 or newer). The interface for programs is at /docs.
"""
_OF_PAGES = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


def add_page(app: Starlette, folder: Path | None = BUILT) -> None:
    """Routes for the page in `folder`, by the names of its files; all other addresses stay what they are.

    Without a page there the root says how to build it; for None it leads to /docs.
    """
    if folder is None:
        app.add_route("/", _to_docs, methods=["GET"], include_in_schema=False)
        return
    files = built_files(folder)
    if _INDEX not in files:
        app.add_route("/", _unbuilt, methods=["GET"], include_in_schema=False)
        return
    for name, file in files.items():
        path = "/" if name == _INDEX else f"/{name}"
        app.add_route(path, file.answer, methods=["GET"], include_in_schema=False)


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """A file of the page. bodies: its content by encoding, the plain one under ""; etag: of that content."""

    bodies: dict[str, bytes]
    etag: str
    media_type: str
    headers: dict[str, str]

    async def answer(self, request: Request) -> Response:
        """It, in the best encoding that the browser takes, or that the browser has it already."""
        accepted = _accepted(request.headers.get("accept-encoding", ""))
        encoding = next((name for name in self.bodies if name in accepted), "")
        headers = {**self.headers, "ETag": f'"{self.etag}{encoding}"', "Vary": "Accept-Encoding"}
        if encoding:
            headers["Content-Encoding"] = encoding
        if headers["ETag"] in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        return Response(self.bodies[encoding], media_type=self.media_type, headers=headers)


def built_files(folder: Path) -> dict[str, BuiltFile]:
    """The files that browsers ask for, by their paths; none where the folder is not there."""
    if not (folder / _POLICIES).is_file():
        return {}
    policies: dict[str, list[str]] = json.loads((folder / _POLICIES).read_text(encoding="utf-8"))
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != _POLICIES and path.suffix not in _ENCODINGS.values():
            found[name] = _read(path, name, policies.get(name))
    return found


def page_policy(hashes: list[str]) -> str:
    """The Content-Security-Policy under which the page works and nothing else does. hashes: of the scripts in it."""
    parts = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *(f"'{each}'" for each in hashes)],
        "style-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "connect-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in parts.items())


def _read(path: Path, name: str, hashes: list[str] | None) -> BuiltFile:
    plain = path.read_bytes()
    packed = {encoding: path.with_name(path.name + suffix) for encoding, suffix in _ENCODINGS.items()}
    bodies = {encoding: each.read_bytes() for encoding, each in packed.items() if each.is_file()} | {"": plain}
    headers = {"Cache-Control": "public, max-age=31536000, immutable" if name.startswith(_HASHED) else "no-cache"}
    if hashes is not None:
        headers |= _OF_PAGES | {"Content-Security-Policy": page_policy(hashes)}
    kind = guess_type(name)[0] or "application/octet-stream"
    return BuiltFile(bodies, sha256(plain).hexdigest()[:20], kind, headers)


def _accepted(header: str) -> set[str]:
    """The encodings of an Accept-Encoding, without those that it refuses."""
    given = [each.strip().lower().replace(" ", "").partition(";") for each in header.split(",")]
    return {name for name, _, weight in given if weight not in ("q=0", "q=0.0", "q=0.00", "q=0.000")}


def _tags(header: str) -> set[str]:
    """Of an If-None-Match; a proxy that recodes makes them weak."""
    return {each.strip().removeprefix("W/") for each in header.split(",")}


async def _to_docs(request: Request) -> Response:
    return RedirectResponse("docs")  # relative: nothing of what the client says the host is


async def _unbuilt(request: Request) -> Response:
    return PlainTextResponse(_UNBUILT)
