"""The figures of a run as TensorBoard reads them. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openblip.train.progress import say


class Board:
    """Writes figures and texts; one that is not wanted, or cannot be had, writes nothing."""

    def __init__(self, folder: Path, *, wanted: bool, step: int = 0) -> None:
        """step: what an earlier run wrote for later steps is passed over."""
        self._writer: Any = None
        self.open = wanted
        if not wanted:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError:
            say("tensorboard is not installed, so nothing is written for it: pip install 'openblip[train]'")
            return
        self._writer = SummaryWriter(str(folder), purge_step=step or None)

    def figures(self, values: Mapping[str, float], step: int) -> None:
        """One point of each curve."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def text(self, name: str, value: str, step: int) -> None:
        """One text, in Markdown."""
        if self._writer is not None:
            self._writer.add_text(name, value, step)

    def flush(self) -> None:
        """Bring what was written so far to the disk."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """The end."""
        if self._writer is not None:
            self._writer.close()
