"""Pictures -> vectors, and captions where they are asked for, from one encoding. Knows a `Blip`, no library."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from openblip.engine import Floats
from openblip.errors import OpenBlipError
from openblip.library.records import ModelStamp
from openblip.pictures import Clock, read_batches
from openblip.pipeline import Blip
from openblip.tasks.captions import Captioner
from openblip.tasks.encoded import Encoded
from openblip.text import clean_caption
from openblip.types import GenerateOptions

_TEXTS_A_CALL = 64
TEXT_TOKENS = 35  # as BLIP's retrieval cuts a text, [CLS] and [SEP] included


@dataclass(frozen=True, slots=True)
class Encoding:
    """What became of one picture: its unit vector [width] and its caption, or the error."""

    vector: Floats
    caption: str = ""
    error: OpenBlipError | None = None


def stamp(blip: Blip) -> ModelStamp:
    """Whose vectors the model makes; loads the checkpoint that embeds."""
    part = blip.part("embed")
    return ModelStamp(part.name, part.revision, part.config.projection)


def encode_each(
    blip: Blip, pictures: Iterable[bytes], captions: bool = False, options: GenerateOptions | None = None
) -> Generator[Encoding, None, None]:
    """Of every picture, in order; the next are read while a batch is computed."""
    embedding, options = blip.part("embed"), options or GenerateOptions()
    parts = list(dict.fromkeys([embedding, *([blip.part("caption")] if captions else [])]))
    captioner = Captioner(parts[-1], options) if captions else None
    prompt = captioner.encode_prompts([""]) if captioner else []
    size = min(part.pictures_a_call(options.rows if captions else 1) for part in parts)
    clock, nothing = Clock(), np.zeros(0, np.float32)
    for batch in read_batches(pictures, size, [part.config.vision for part in parts], blip.limits, clock):
        usable = [loaded for loaded in batch if loaded.error is None]
        encoded = Encoded(usable, parts, clock)
        vectors = iter(encoded.vectors(embedding) if usable else ())
        texts = iter(captioner.captions(encoded, prompt * len(usable)) if captioner and usable else ())
        for loaded in batch:
            if loaded.error is not None:
                yield Encoding(nothing, error=loaded.error)
                continue
            yield Encoding(next(vectors), next(texts)[0].text if captioner else "")


def text_vector(blip: Blip, words: str) -> Floats:
    """The unit vector [width] of a text, cleaned as the captions that the model learned from."""
    vector: Floats = text_vectors(blip, [words])[0]
    return vector


def text_vectors(blip: Blip, texts: Sequence[str]) -> Floats:
    """Those of several [texts, width]; texts of like length share a call."""
    part = blip.part("embed")
    length = min(TEXT_TOKENS, part.config.text.max_positions)
    rows = part.tokenizer.encode_unimodal([clean_caption(text) or text for text in texts], length)
    order = np.argsort(rows.lengths, kind="stable")
    vectors = np.empty((len(texts), part.config.projection), np.float32)
    for start in range(0, len(texts), _TEXTS_A_CALL):
        some = order[start : start + _TEXTS_A_CALL]
        longest = int(rows.lengths[some].max())
        vectors[some] = part.engine.embed_texts(rows.tokens[some, :longest], rows.lengths[some])
    return vectors
