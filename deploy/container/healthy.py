"""The image's health check: ends with 0 where the service in this container is ready. Knows its port and /readyz.

The image has no curl; this needs the standard library alone, and starts without site-packages.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_S = 3.0


def main() -> int:
    """The exit code; what is wrong goes to standard error, where `docker inspect` shows it."""
    port = int(os.environ.get("OPENBLIP_PORT", "8000"))
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        sys.stderr.write(f"port {port} does not answer: {error}\n")
        return 1
    if status != 200:
        sys.stderr.write(f"/readyz answers {status}: starting, or draining\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
