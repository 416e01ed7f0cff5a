"""Rival (a): what tutorials on serving BLIP write. FastAPI, transformers in f32, one request at a time, captions kept
in Redis by the md5 of the file.

    python -m benchmarks.load.rival_tutorial FOLDER PORT THREADS REDIS_URL
"""

from __future__ import annotations

import hashlib
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile
from redis import Redis

from benchmarks.load.captioner import Captioner

KEPT_S = 24 * 3600


def create_app(captioner: Captioner, cache: Redis) -> FastAPI:
    """The application. A route that is no coroutine runs in a thread; the lock lets one at a time to the model."""
    app = FastAPI()
    lock = threading.Lock()

    @app.post("/v1/caption")
    def caption(images: UploadFile) -> dict[str, Any]:
        file = images.file.read()
        key = f"caption:{hashlib.md5(file, usedforsecurity=False).hexdigest()}"
        kept: Any = cache.get(key)
        if kept is not None:
            return _answer(kept.decode(), cached=True)
        with lock:
            [text] = captioner.captions([captioner.decoded(file)])
        cache.set(key, text, ex=KEPT_S)
        return _answer(text, cached=False)

    @app.get("/readyz")
    def ready() -> str:
        return "ready"

    return app


def _answer(text: str, *, cached: bool) -> dict[str, Any]:
    return {"results": [{"captions": [{"text": text}], "cached": cached}]}


def main() -> None:
    """Serve on loopback."""
    folder, port, threads, url = sys.argv[1:]
    app = create_app(Captioner(Path(folder), "f32", int(threads)), Redis.from_url(url))
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
