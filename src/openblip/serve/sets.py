"""Several models in one process: loaded when they are asked for, unloaded when they are idle or memory is short. Knows
workers; does not know how one is made, nor requests."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from openblip.errors import ModelNotFound
from openblip.serve.resident import give_back_memory, resident_bytes
from openblip.serve.worker import Worker

LOG = logging.getLogger("openblip.serve")


@dataclass
class _Slot:
    """A model and those who use it at present."""

    worker: Worker | None = None
    users: int = 0
    used: float = 0.0
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)


class ModelSets:
    """The first of `names` is loaded at the start and stays; each other one when a request first names it. Those are
    unloaded `idle_s` after their last use, and sooner where the process holds more than `memory_bytes` (0: no bound).
    One that is in use is never unloaded.

    load: makes a warm worker of a name. resident: bytes that the process holds.
    """

    def __init__(
        self,
        names: Sequence[str],
        load: Callable[[str], Awaitable[Worker]],
        *,
        memory_bytes: int = 0,
        idle_s: float = 900.0,
        resident: Callable[[], int] = resident_bytes,
    ) -> None:
        self.names, self._load = list(dict.fromkeys(names)), load
        self._memory_bytes, self._idle_s, self._resident = memory_bytes, idle_s, resident
        self._slots = {name: _Slot() for name in self.names}
        self._keeper: asyncio.Task[None] | None = None

    @property
    def loaded(self) -> dict[str, Worker]:
        """Those that are in memory."""
        return {name: slot.worker for name, slot in self._slots.items() if slot.worker is not None}

    async def start(self) -> None:
        """Load the first. Raises what loading raises."""
        async with self.use(""):
            pass
        if len(self.names) > 1:
            self._keeper = asyncio.create_task(self._keep())

    async def stop(self, within_s: float) -> None:
        """Finish what all are asked to do, within that time."""
        if self._keeper is not None:
            self._keeper.cancel()
        await asyncio.gather(*(worker.close(within_s) for worker in self.loaded.values()))

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Worker]:
        """A model by its name, the first where that is empty; it stays loaded inside the `with` block.

        Raises ModelNotFound for a name that is not served, and what loading raises.
        """
        slot = self._slots.get(name or self.names[0])
        if slot is None:
            raise ModelNotFound(f"the model {name[:80]!r} is not served here: name one of {', '.join(self.names)}")
        slot.users += 1  # also while it loads
        try:
            async with slot.loading:
                if slot.worker is None:
                    await self._make_room()
                    slot.worker = await self._load(name or self.names[0])
            yield slot.worker
        finally:
            slot.users -= 1
            slot.used = time.monotonic()

    async def unload_idle(self) -> None:
        """Unload those that nobody used for `idle_s`."""
        late = time.monotonic() - self._idle_s
        for name in self._idle():
            if self._slots[name].used < late:
                await self._unload(name)

    async def _make_room(self) -> None:
        """Unload idle models, those used longest ago first, until the process holds less than it may."""
        for name in self._idle():
            if not self._memory_bytes or self._resident() <= self._memory_bytes:
                return
            await self._unload(name)

    def _idle(self) -> list[str]:
        """Loaded, not in use and not the first; in order of their last use."""
        idle = [name for name in self.loaded if name != self.names[0] and not self._slots[name].users]
        return sorted(idle, key=lambda name: self._slots[name].used)

    async def _unload(self, name: str) -> None:
        slot = self._slots[name]
        worker, slot.worker = slot.worker, None
        if worker is not None:
            await worker.close(0.0)
        del worker
        gc.collect()
        give_back_memory()
        LOG.info("unloaded", extra={"fields": {"model": name}})

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(min(self._idle_s, 30.0))
            await self.unload_idle()
            await self._make_room()
