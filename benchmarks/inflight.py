"""Should a new picture join the decode that runs? Measures what the engine takes for each number of pictures, and lets
both policies serve the same arrivals in simulated time.

Grouping is what the service does: when the engine is free it encodes and captions all that waits together. In-flight
batching (Yu et al. 2022, Orca) looks at the queue between two steps: what waits is encoded then and there and joins.
Both pay the measured seconds of the same engine calls; joining itself costs nothing here, which favours in-flight.

    python -m benchmarks.inflight --model mini --data ../shared/data/flickr8k/dev-0000.tar
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from openblip import Blip, GenerateOptions
from openblip.bulk.shards import find_shards, read_shards
from openblip.image import load_image, preprocess
from openblip.search import generate

COUNTS = (1, 2, 4, 8, 12, 16)
STEPS = 12
REPEATS = 5
SHARES = (0.3, 0.5, 0.7, 0.8, 0.9)
ARRIVALS = 4000


@dataclass(frozen=True)
class Costs:
    """Seconds of encoding so many pictures, and of one step of a decode of so many; between counts, on a line."""

    encode_s: Sequence[float]
    step_s: Sequence[float]

    def encode(self, pictures: int) -> float:
        """Of a call with so many."""
        return float(np.interp(pictures, COUNTS, self.encode_s))

    def step(self, pictures: int) -> float:
        """Of a step with so many."""
        return float(np.interp(pictures, COUNTS, self.step_s))


def grouped(arrivals: Sequence[float], steps: Sequence[int], costs: Costs, most: int) -> list[float]:
    """The seconds from arrival to end of each picture, one batch after the other."""
    now, place, waits = 0.0, 0, []
    while place < len(arrivals):
        now = max(now, arrivals[place])
        end = place
        while end < len(arrivals) and end - place < most and arrivals[end] <= now:
            end += 1
        batch = range(place, end)
        now += costs.encode(len(batch))
        for step in range(max(steps[each] for each in batch)):
            now += costs.step(sum(steps[each] > step for each in batch))
        waits += [now - arrivals[each] for each in batch]  # results are handed out together
        place = end
    return waits


def in_flight(arrivals: Sequence[float], steps: Sequence[int], costs: Costs, most: int) -> list[float]:
    """The same, where what waits joins between two steps and leaves when it is done."""
    now, place, left, waits = 0.0, 0, deque[tuple[int, int]](), []
    while place < len(arrivals) or left:
        if not left:
            now = max(now, arrivals[place])
        joined = 0
        while place < len(arrivals) and len(left) < most and arrivals[place] <= now:
            left.append((place, steps[place]))
            place, joined = place + 1, joined + 1
        now += costs.encode(joined) if joined else 0.0
        now += costs.step(len(left))
        waits += [now - arrivals[each] for each, remaining in left if remaining == 1]
        left = deque((each, remaining - 1) for each, remaining in left if remaining > 1)
    return waits


def measure(blip: Blip, photos: Sequence[bytes]) -> Costs:
    """The medians of this machine, beam 3."""
    part = blip.part("caption")
    pixels = np.stack([preprocess(load_image(photo), part.config.vision) for photo in photos])
    options = GenerateOptions(max_length=STEPS + 1, min_length=STEPS + 1)
    encode_s, step_s = [], []
    for count in COUNTS:
        chosen = pixels[np.arange(count) % len(pixels)]
        states = part.engine.encode_images(chosen)
        prompts = part.tokenizer.pad([part.tokenizer.caption_prompt("")] * count)
        encode_s.append(_median(partial(part.engine.encode_images, chosen)))
        whole = _median(partial(generate, part.engine, states, prompts.tokens, prompts.lengths, options))
        step_s.append(whole / STEPS)
    return Costs(encode_s, step_s)


def _median(call: Callable[[], object]) -> float:
    call()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def main() -> None:
    """Measure, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--precision")
    parser.add_argument("--data", required=True, help="shards with photos, to measure on")
    parser.add_argument("--most", type=int, default=16, help="pictures of a batch")
    arguments = parser.parse_args()
    blip = Blip.load(arguments.model, precision=arguments.precision)
    photos = [sample.image_bytes for sample in islice(read_shards(find_shards(arguments.data)), 64)]
    lengths = [len(caption.tokens) for caption in blip.caption(photos)]
    costs = measure(blip, photos)
    print("pictures   " + "".join(f"{count:>9}" for count in COUNTS))
    print("encode, ms " + "".join(f"{1e3 * value:9.1f}" for value in costs.encode_s))
    print("a step, ms " + "".join(f"{1e3 * value:9.1f}" for value in costs.step_s))
    print(f"steps of {len(lengths)} captions: {min(lengths)} to {max(lengths)}, mean {np.mean(lengths):.1f}\n")
    random = np.random.default_rng(0)
    steps = random.choice(lengths, ARRIVALS).tolist()
    full = ARRIVALS / max(grouped([0.0] * ARRIVALS, steps, costs, arguments.most))
    full_in_flight = ARRIVALS / max(in_flight([0.0] * ARRIVALS, steps, costs, arguments.most))
    print(f"pictures a second at most: grouping {full:.1f}, in-flight {full_in_flight:.1f}\n")
    print("| arriving, of grouping's most | grouping p50, p99 | in-flight p50, p99 | p99, in-flight by grouping |")
    print("|---|---|---|---|")
    for share in SHARES:
        arrivals = np.cumsum(random.exponential(1 / (share * full), ARRIVALS)).tolist()
        one, other = (
            np.percentile(policy(arrivals, steps, costs, arguments.most), (50, 99)) for policy in (grouped, in_flight)
        )
        cells = [f"{1e3 * p50:.0f}, {1e3 * p99:.0f} ms" for p50, p99 in (one, other)]
        print(f"| {share:.0%} | {cells[0]} | {cells[1]} | {other[1] / one[1]:.2f} |")


if __name__ == "__main__":
    main()
