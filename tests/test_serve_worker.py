"""The threads that read pictures for the engine."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from openblip.serve.worker import _READERS_NICE, _yield_to_the_engine


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a priority is the whole process's")
@pytest.mark.parametrize("given", [0, 15])
def test_a_reader_yields_and_never_gains(given: int) -> None:
    """To gain priority is refused to all but root, where it would end the service at its start."""

    def read() -> int:
        thread = threading.get_native_id()
        begun = max(given, os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, begun)
        _yield_to_the_engine()
        return os.getpriority(os.PRIO_PROCESS, thread) - max(begun, _READERS_NICE)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(read).result() == 0
