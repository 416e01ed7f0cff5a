"""One http(s) address to its bytes, bounded in total time, bytes and redirects. Does not know what the bytes mean.

Meant for addresses that the user of a program typed; a service must not pass on the addresses of its callers.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO

from openblip.errors import ImageError

_CHUNK_BYTES = 1 << 16


def download(url: str, max_bytes: int, timeout_s: float, max_redirects: int) -> bytes:
    """The body that an address answers with. Raises ImageError when it takes or holds more than allowed, or fails.

    The transfer runs in a thread of its own, because name look-up and a header that trickles in byte by byte heed no
    socket timeout. A server that goes on trickling holds that thread, never the caller and never the process's exit.
    """
    transfer = _Transfer(url, max_bytes, timeout_s, max_redirects)
    thread = threading.Thread(target=transfer.run, name="openblip-download", daemon=True)
    thread.start()
    thread.join(timeout_s)
    transfer.cancelled.set()
    if thread.is_alive():
        raise transfer.too_slow()
    if transfer.error is not None:
        raise transfer.error
    return transfer.body


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split())


class _Transfer:
    """One download: what to fetch, and what came of it."""

    def __init__(self, url: str, max_bytes: int, timeout_s: float, max_redirects: int) -> None:
        self.url, self.max_bytes, self.timeout_s, self.max_redirects = url, max_bytes, timeout_s, max_redirects
        self.name = url if url.isprintable() else ascii(url)
        self.cancelled = threading.Event()
        self.body = b""
        self.error: ImageError | None = None

    def run(self) -> None:
        """Fill in `body` or `error`."""
        try:
            self.body = self._fetch()
        except ImageError as error:
            self.error = error
        except urllib.error.HTTPError as error:
            self.error = ImageError(f"{self.name} answered {error.code} {_one_line(error.reason)}: check the address")
        except TimeoutError:
            self.error = self.too_slow()
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            line = _one_line(reason) or type(error).__name__
            self.error = ImageError(f"{self.name} cannot be downloaded ({line}): check the address and the network")

    def too_slow(self) -> ImageError:
        """What to say when the time is up."""
        return ImageError(f"{self.name} took longer than {self.timeout_s:g} s: try again, or download it yourself")

    def _fetch(self) -> bytes:
        opener = urllib.request.build_opener(_Redirects(self.name, self.max_redirects))
        # Quoting spaces and accents is what every browser does with a typed address.
        address = urllib.parse.quote(self.url, safe="%/:=&?~#+!$,;'@()*[]")
        headers = {"User-Agent": "openblip (image captioning)", "Accept": "image/*", "Accept-Encoding": "identity"}
        request = urllib.request.Request(address, headers=headers)
        with opener.open(request, timeout=self.timeout_s) as response:
            return self._read(response)

    def _read(self, response: HTTPResponse) -> bytes:
        length = response.headers.get("Content-Length", "")
        too_large = ImageError(f"{self.name} is larger than {self.max_bytes:,} bytes: raise max_bytes or give a copy")
        if length.isdigit() and int(length) > self.max_bytes:
            raise too_large
        body = bytearray()
        while not self.cancelled.is_set() and (chunk := response.read1(_CHUNK_BYTES)):
            body += chunk
            if len(body) > self.max_bytes:
                raise too_large
        if length.isdigit() and len(body) < int(length):
            raise ImageError(f"{self.name} broke off after {len(body):,} of {int(length):,} bytes: try again")
        return bytes(body)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows few redirects, and only to http(s): urllib's own would go to ftp too."""

    max_repeats = max_redirections = 1000  # urllib's own counts; ours comes first

    def __init__(self, name: str, max_redirects: int) -> None:
        self.name, self.left, self.max_redirects = name, max_redirects, max_redirects

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Count the hop and check where it leads."""
        if self.left == 0:
            raise ImageError(f"{self.name} redirects more than {self.max_redirects} times: check the address")
        self.left -= 1
        if urllib.parse.urlsplit(newurl).scheme not in ("http", "https"):
            raise ImageError(f"{self.name} redirects to something other than http(s): check the address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
