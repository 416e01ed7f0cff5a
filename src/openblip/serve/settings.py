"""The service's settings, read from the environment once. Knows no model and no HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from openblip.errors import OptionError
from openblip.hub import compiled_folder
from openblip.serve.cache.settings import NOWHERE, CacheSettings

PREFIX = "OPENBLIP_"


class ServeSettings(BaseSettings):
    """Each field is the environment variable OPENBLIP_ and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")

    model: str = Field(
        "mini",
        min_length=1,
        description="Models as --model takes them, commas between; the first is used unless a request names another.",
    )
    engine: Literal["openvino", "torch"] = Field("openvino", description="What computes.")
    precision: Literal["f32", "bf16", "f16", "int8"] | None = Field(
        None, description="Of the computation; the engine's choice where it is not set."
    )
    threads: int | None = Field(None, ge=1, le=1024, description="Of the engine; its choice where it is not set.")
    lanes: int = Field(
        4,
        ge=1,
        le=64,
        description="Batches that a small model computes at the same time, each with its share of the threads; at most "
        "one a thread.",
    )
    memory_bytes: int = Field(
        0,
        ge=0,
        description="With several models: above this the one that was used longest ago is unloaded; 0 for no bound.",
    )
    idle_s: float = Field(
        900.0,
        gt=0,
        description="With several models: one that is not the first is unloaded so long after its last use.",
    )

    max_queue: int = Field(
        64,
        ge=1,
        le=100_000,
        description="Pictures that may wait for the engine, or be read for it; more are answered 429.",
    )
    max_batch: int = Field(
        32, ge=1, le=128, description="Pictures of one engine call at most; fewer where they take much memory."
    )
    max_requests: int = Field(512, ge=1, le=100_000, description="Requests in hand; more are answered 429.")
    max_upload_bytes: int = Field(
        512_000_000, ge=1000, description="Of the bodies of all requests in hand; more are answered 429."
    )
    timeout_s: float = Field(30.0, gt=0, le=3600, description="What a request may take before it is answered 504.")
    body_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="What sending a head, and then a body, may take before it is answered 408."
    )
    notice_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="After SIGTERM work is taken for so long while /readyz says no, for a load balancer to notice.",
    )
    drain_s: float = Field(20.0, ge=0, le=3600, description="Then work in hand may take so long.")

    max_body_bytes: int = Field(32_000_000, ge=1000, le=2**31, description="Of a request; more is answered 413.")
    max_pixels: int = Field(50_000_000, ge=1, le=178_956_970, description="Of a picture, checked before decoding.")
    max_images: int = Field(16, ge=1, le=1000, description="Of a request; at most as many as may wait.")
    max_texts: int = Field(64, ge=1, le=10_000, description="Questions, texts and allowed answers of a request.")
    max_text_characters: int = Field(2000, ge=1, le=100_000, description="Of a prompt, question or text.")
    max_rows: int = Field(16, ge=1, le=64, description="Beams, or sampled texts, of a request.")
    max_length: int = Field(100, ge=2, le=512, description="Tokens of a generated text.")

    api_keys: Path | None = Field(
        None, description="A file of API keys, `name sha256hex` a line; without one the service is open."
    )
    rate: str = Field(
        "", description="Requests of each key's owner, or of each address, such as 600/minute; nothing for no bound."
    )
    cors_origins: str = Field("", description="Origins whose pages may read answers, commas between; * for all.")
    trusted_proxies: str = Field(
        "127.0.0.1", description="Whose X-Forwarded-For is believed, commas between; * for all."
    )
    page: bool = Field(True, description="The page for people at the root; without it the root leads to /docs.")
    fetch_urls: bool = Field(False, description="Fetch pictures by https address, from public hosts alone.")

    library: str = Field(
        "", description="A photo library (docs/search.md) for /v1/images and /v1/search: a folder or s3:// address."
    )
    library_folder: Path | None = Field(
        None, description="Where pictures are kept that are added over HTTP.  [OPENBLIP_LIBRARY.added]"
    )

    cache_url: str = Field(
        "", repr=False, description="Where results are kept: nothing for disk, none, redis://host:6379/0 or rediss://."
    )
    cache_folder: Path | None = Field(None, description="Of the cache on disk.  [OPENBLIP_CACHE/results]")
    cache_ttl_s: float = Field(7 * 86_400.0, gt=0, description="How long a result is kept.")
    cache_bytes: int = Field(1_000_000_000, ge=1_000_000, description="Bound of the cache on disk.")
    encodings_bytes: int = Field(
        256_000_000, ge=0, description="Memory for encoded pictures, of each model; 0 keeps none."
    )

    figures_s: float = Field(
        0.0, ge=0, le=3600, description="So often figures go to stdout, as CloudWatch reads them; 0 for never."
    )
    figures_name: str = Field("openblip", min_length=1, max_length=255, description="Of the service in those figures.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Of the log.")

    @property
    def origins(self) -> list[str]:
        """Those of CORS."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def models(self) -> list[str]:
        """Their names."""
        return [name.strip() for name in self.model.split(",") if name.strip()]

    def cache(self) -> CacheSettings:
        """Those of the result cache. Raises OptionError."""
        folder, url = self.cache_folder, self.cache_url
        if folder is None and not url:
            compiled = compiled_folder()
            folder, url = (None, NOWHERE) if compiled is None else (compiled.parent / "results", "")
        return CacheSettings(url=url, folder=folder, ttl_s=self.cache_ttl_s, max_bytes=self.cache_bytes)


def read_settings(**given: object) -> ServeSettings:
    """Those of the environment, overruled by what is given and not None. Raises OptionError that names the variable."""
    try:
        return ServeSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        value = "" if name == "CACHE_URL" else f" = {first['input']!r}"
        raise OptionError(f"{PREFIX}{name}{value}: {first['msg'][0].lower()}{first['msg'][1:]}") from None


def settings_table() -> list[tuple[str, str, str]]:
    """Of each setting its variable, its default, and what it is for."""
    return [
        (f"{PREFIX}{name.upper()}", "" if field.default is None else str(field.default), field.description or "")
        for name, field in ServeSettings.model_fields.items()
    ]


def settings_help() -> str:
    """The table as text, a line a setting."""
    rows = settings_table()
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{name:{widths[0]}}  {default:{widths[1]}}  {about}" for name, default, about in rows)
