"""What a frozen part of the image encoder makes of views, computed once and kept. Knows no texts and no losses."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from openblip.train import ranks
from openblip.train.progress import say
from openblip.train.views import PictureCache, Views, read_views

_TOGETHER = 64


@torch.no_grad()
def fill_view(
    cache: PictureCache,
    view: int,
    views: Callable[[range], Views],
    pictures: int,
    compute: Callable[[Tensor], Tensor],
    device: torch.device,
    *,
    bfloat16: bool,
    what: str,
) -> None:
    """Compute a view where it is not kept yet, each rank its share.

    views: of the pictures in a range. compute: pixels [batch, 3, size, size] to what is kept of them. what: as the
    progress line calls it.
    """
    if view in cache.done:
        return
    started = time.monotonic()
    start, stop = (pictures * rank // ranks.count() for rank in (ranks.rank(), ranks.rank() + 1))
    for pixels in read_views(views(range(start, stop)), _TOGETHER):
        pixels = pixels.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            values = compute(pixels)
        cache.write(view, start, values)
        start += len(pixels)
    cache.flush()
    ranks.wait_for_all()
    cache.mark(view, keep=ranks.rank() == 0)
    if ranks.rank() == 0:
        say(f"view {view} of the {what}: {pictures} pictures in {time.monotonic() - started:.0f} s")
