"""What all tests share: the data folder, the bundled model and one profile for Hypothesis."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from required import lacking

if TYPE_CHECKING:
    from redis_server import RedisServer

CHECKOUT = Path(__file__).resolve().parent.parent

settings.register_profile("openblip", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("openblip")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background process ignores Ctrl-C, and all that it starts: tests that press it would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _shared_data_folder() -> Path:
    return Path(os.environ.get("OPENBLIP_SHARED_DATA") or CHECKOUT.parent / "shared" / "data")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for the fixture carries the marker, so that `-m "not shared_data"` means what it says."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker("shared_data")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs the data folder is skipped without it; OPENBLIP_REQUIRE_SHARED=1 makes it fail."""
    folder = _shared_data_folder()
    if item.get_closest_marker("shared_data") is None or folder.is_dir():
        return
    reason = f"needs the data folder, and there is none at {folder}: set OPENBLIP_SHARED_DATA to it"
    lacking("SHARED", reason)


@pytest.fixture(scope="session")
def _compiled_graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, _compiled_graphs: Path) -> None:
    """The developer's model and cache do not reach the tests; tests share a cache of their own."""
    for name in ("OPENBLIP_MODEL", "OPENBLIP_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENBLIP_CACHE", str(_compiled_graphs))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data folder; see `pytest_runtest_setup` for what happens without it."""
    return _shared_data_folder()


@pytest.fixture(scope="session")
def samples() -> list[Path]:
    """The sample photos of the checkout."""
    photos = sorted((CHECKOUT / "samples").glob("*.jpg"))
    assert photos, "the checkout has no sample photos"
    return photos


@pytest.fixture(scope="session")
def mini() -> Path:
    """The checkpoint folder of the bundled model. Fails where it is not installed: `make test` installs it."""
    try:
        from openblip_mini import FOLDER
    except ImportError:
        pytest.fail("openblip-mini is not installed: run 'pip install -e models/mini'", pytrace=False)
    if not (FOLDER / "model.safetensors").is_file():
        pytest.fail(f"the checkpoint of mini is missing at {FOLDER}", pytrace=False)
    return FOLDER


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    from redis_server import running_redis

    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(_redis: RedisServer) -> RedisServer:
    """A real redis-server, empty."""
    from redis_server import cleared

    return cleared(_redis)
