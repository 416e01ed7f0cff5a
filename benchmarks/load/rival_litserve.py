"""Rival (b): LitServe around transformers, requests grouped into batches.

    python -m benchmarks.load.rival_litserve FOLDER PORT THREADS PRECISION BATCH

Pictures are decoded in its worker, by threads, when a batch has come together: `unbatch` and `decode_request` are where
LitServe has them. Annotations are evaluated here, as LitServe looks at that of `request`.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import litserve
import litserve.server
from fastapi import Request

from benchmarks.load.captioner import Captioner

BATCH_WAIT_S = 0.05
"""How long a batch waits to be filled: short beside the second that one takes."""


class CaptionAPI(litserve.LitAPI):  # type: ignore[misc]
    """Files in, captions out."""

    def __init__(self, folder: Path, threads: int, precision: str, batch: int) -> None:
        super().__init__(max_batch_size=batch, batch_timeout=BATCH_WAIT_S, api_path="/v1/caption")
        self._settings = folder, precision, threads

    def setup(self, device: str) -> None:
        """Load the model, in the worker."""
        self._captioner = Captioner(*self._settings)
        self._decoders = ThreadPoolExecutor(self._settings[2])

    def decode_request(self, request: Request) -> bytes:
        """The file of a form."""
        form: Any = request
        file: bytes = form["images"].file.read()
        return file

    def batch(self, inputs: Sequence[bytes]) -> list[bytes]:
        """Files stay a list."""
        return list(inputs)

    def predict(self, x: Any) -> Any:
        """Captions of a batch, or of one file where batches are off."""
        files = [x] if isinstance(x, bytes) else x
        texts = self._captioner.captions(list(self._decoders.map(self._captioner.decoded, files)))
        return texts[0] if isinstance(x, bytes) else texts

    def unbatch(self, output: Any) -> Any:
        """A caption each."""
        return output

    def encode_response(self, output: str) -> dict[str, Any]:
        """As openblip answers, as far as it is read."""
        return {"results": [{"captions": [{"text": output}], "cached": False}]}


def server(api: CaptionAPI) -> Any:
    """One worker, no limit of time."""
    # Where the package mcp is there it opens a door for assistants too, made for mcp 1: with mcp 2 it does not start.
    litserve.server._MCP_AVAILABLE = False
    return litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=False, healthcheck_path="/readyz")


def main() -> None:
    """Serve on loopback."""
    folder, port, threads, precision, batch = sys.argv[1:]
    api = CaptionAPI(Path(folder), int(threads), precision, int(batch))
    server(api).run(
        host="127.0.0.1", port=int(port), num_api_servers=1, log_level="warning", generate_client_file=False
    )


if __name__ == "__main__":
    main()
