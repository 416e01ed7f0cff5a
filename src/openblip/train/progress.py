"""How far a run is, what it says about that, and how it is asked to stop. Knows no model."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any


@dataclass
class Progress:
    """Where a run stands. step counts optimiser steps; batch counts batches done of `epoch`."""

    epoch: int = 0
    batch: int = 0
    step: int = 0


class Meter:
    """Sums losses and time between two progress lines of one epoch."""

    def __init__(self, steps: int, pictures_a_batch: int, first_step: int) -> None:
        self.steps, self.pictures_a_batch = steps, pictures_a_batch
        self.last: dict[str, float] = {}
        self._restart(first_step)

    def add(self, losses: Mapping[str, float]) -> None:
        """Count one batch; every batch names the same losses."""
        for name, value in losses.items():
            self._sums[name] += value
        self._batches += 1

    def line(self, progress: Progress, epochs: int, steps_an_epoch: int) -> str:
        """The progress line, every `steps` steps and at the end of an epoch, else an empty string."""
        if progress.step % self.steps and progress.step % steps_an_epoch:
            return ""
        means = {name: value / self._batches for name, value in self._sums.items()}
        seconds = time.monotonic() - self._since
        left = (epochs * steps_an_epoch - progress.step) * seconds / (progress.step - self._first_step)
        rate = self._batches * self.pictures_a_batch / seconds
        self.last = {"step": progress.step, **means, "pictures_a_second": rate}
        self._restart(progress.step)
        return (
            f"epoch {progress.epoch + 1}/{epochs} step {progress.step} "
            + "".join(f"{name} {value:.3f} " for name, value in means.items())
            + f"{rate:.0f} pictures/s, {left / 60:.0f} min left"
        )

    def _restart(self, step: int) -> None:
        self._sums, self._batches = defaultdict[str, float](float), 0
        self._since, self._first_step = time.monotonic(), step


class StopRequest:
    """Ctrl-C and SIGTERM within a `with` block: the first is noted in `asked`, so that the step in hand can end and be
    saved; the second interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # only it may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def say(line: str) -> None:
    """One line on stderr, at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
