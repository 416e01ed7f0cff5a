"""class Blip: pictures and texts in, typed results out. Lists in, lists out, in order.

Knows how pictures become batches, prompts become ids and hypotheses become captions. Does not know how a model computes
(that is the engine), nor folders of files, tables or the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from typing import Literal

import numpy as np

from openblip.config import ModelConfig
from openblip.engine import Engine, Floats, ImageStates, Ints, QuestionStates
from openblip.errors import CheckpointError, InputError, OpenBlipError, OptionError
from openblip.image import DEFAULT_LIMITS, ImageLimits, ImageSource
from openblip.pictures import Clock, Loaded, as_list, digest, pixels_or_raise, read_batches
from openblip.ranking import rank
from openblip.search import Hypothesis, check_room, generate
from openblip.text import Conventions, Tokenizer
from openblip.types import Answer, Caption, GenerateOptions, Match, Timing

EngineName = Literal["openvino", "torch"]

_DEFAULT_OPTIONS = GenerateOptions()
_ANSWER_OPTIONS = GenerateOptions(max_length=10, min_length=1)  # of BLIP's VQA evaluation
RANKED = 128
"""Given answers whose whole likelihood is computed, the likeliest by their first word."""
_SHOWN = 5
_MAX_PICTURES, _MAX_ROWS, _MAX_STATE_BYTES = 32, 128, 2**28  # of one engine call
# Compiled graphs hold the weights once more: worth the disk for a small model that starts often.
_MAX_KEPT_BYTES = 2**27


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one of many pictures: its captions, or the error that kept it from having any.

    source: as it was handed in.
    """

    source: ImageSource
    captions: tuple[Caption, ...] = ()
    error: OpenBlipError | None = None


class Blip:
    """A loaded model: `Blip.load("mini").caption(["photo.jpg"])`.

    Wherever pictures are asked for, give a path, an http(s) address, bytes, a PIL image or an array, or a list of them;
    one picture counts as a list of one. `timing` tells where the seconds of the last finished call went. `engine` and
    `tokenizer` are there for work on arrays that this class does not offer.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, name: str, limits: ImageLimits = DEFAULT_LIMITS) -> None:
        self.engine, self.tokenizer, self.name, self.limits = engine, tokenizer, name, limits
        self.timing = Timing(0.0, 0.0, 0.0, 0.0)

    @classmethod
    def load(
        cls,
        name_or_folder: str | os.PathLike[str] | None = None,
        *,
        engine: EngineName = "openvino",
        precision: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        image_size: int | None = None,
        special_tokens: Conventions = "blip",
        limits: ImageLimits = DEFAULT_LIMITS,
    ) -> Blip:
        """Load a model by name ("mini"), folder (of ours or of transformers) or .pth of salesforce/BLIP; without one,
        OPENBLIP_MODEL if it is set, else "mini".

        engine: "openvino" (CPU, needs no torch) or "torch" (CPU or CUDA). precision, device, threads: None lets the
        engine choose. image_size: side of the pictures in pixels, where it is to be another than the checkpoint's (its
        positions are then interpolated; ViT only). special_tokens: "blip" starts a text to match and a question with
        [ENC], as the models were trained; "transformers" starts them with [CLS], as its port does, and gives its scores
        and answers. limits: what a picture may cost before it is refused.

        Raises ModelNotFound, CheckpointError, OptionError or MissingExtra.
        """
        from openblip.checkpoint import load_checkpoint
        from openblip.engines import load_engine
        from openblip.hub import compiled_folder, find_model

        model = find_model(name_or_folder)
        checkpoint = load_checkpoint(model.path, model.name, image_size=image_size)
        tokenizer = Tokenizer.from_vocabulary(checkpoint.vocabulary, special_tokens)
        _check_vocabulary(tokenizer, checkpoint.config, checkpoint.vocabulary)
        small = sum(tensor.nbytes for tensor in checkpoint.tensors.values()) <= _MAX_KEPT_BYTES
        cache_dir = compiled_folder() if small and engine == "openvino" else None
        loaded = load_engine(
            engine,
            checkpoint.config,
            checkpoint.tensors,
            precision=precision,
            device=device,
            threads=threads,
            cache_dir=cache_dir,
            revision=checkpoint.revision if cache_dir else None,
        )
        return cls(loaded, tokenizer, model.name, limits)

    @property
    def config(self) -> ModelConfig:
        """The sizes of the model."""
        return self.engine.config

    def caption(
        self,
        images: ImageSource | Sequence[ImageSource],
        prompt: str | Sequence[str] = "",
        options: GenerateOptions | None = None,
    ) -> list[Caption]:
        """One caption a picture. prompt: what captions start with, one for all or one a picture.

        Raises ImageError at the first picture that cannot be used; `caption_each` goes on instead.
        """
        if options is not None and options.num_return != 1:
            raise OptionError(f"caption gives one text a picture, not num_return={options.num_return}: use captions")
        return [texts[0] for texts in self.captions(images, prompt, options)]

    def captions(
        self,
        images: ImageSource | Sequence[ImageSource],
        prompt: str | Sequence[str] = "",
        options: GenerateOptions | None = None,
    ) -> list[list[Caption]]:
        """`options.num_return` captions a picture: best first from a beam search, in order of draw when sampling."""
        self.config.require("caption")
        sources, options = as_list(images), options or _DEFAULT_OPTIONS
        prompts = self._encode_prompts(_one_each(prompt, len(sources)), options)
        clock, results = Clock(), list[list[Caption]]()
        for batch in self._batches(sources, options, clock):
            pixels = pixels_or_raise(batch)
            done = len(results)
            results += self._caption_batch(pixels, prompts[done : done + len(pixels)], options, clock)
        self.timing = clock.timing()
        return results

    def caption_each(
        self, sources: Iterable[ImageSource], prompt: str = "", options: GenerateOptions | None = None
    ) -> Iterator[Outcome]:
        """Captions of any number of pictures in their order, handed out batch by batch.

        A picture that cannot be used comes out as an Outcome with its error, and the rest goes on. The next pictures
        are read while a batch is computed; sources may be a generator, of which at most two batches are read ahead.

        Raises OptionError or TextError at once where options or prompt do not suit the model.
        """
        self.config.require("caption")
        options = options or _DEFAULT_OPTIONS
        [prompt_ids] = self._encode_prompts([prompt], options)
        return self._outcomes(sources, prompt_ids, options)

    def match(self, images: ImageSource | Sequence[ImageSource], texts: str | Sequence[str]) -> list[Match]:
        """How well each text describes its picture: pairs in order, or one of either with many of the other.

        A text longer than the model's positions is cut.
        """
        self.config.require("match")
        self.config.require("embed")
        descriptions = [texts] if isinstance(texts, str) else list(texts)
        grounded = self.tokenizer.encode_grounded(descriptions, self.config.text.max_positions)
        clock, matches = Clock(), list[Match]()
        with clock.measure("encode_s"):
            text_vectors = self._text_vectors(descriptions)
        for _, states, picture, text in self._encoded_pairs(as_list(images), len(descriptions), clock):
            with clock.measure("encode_s"):
                image_vectors = self.engine.embed_images(states)
            with clock.measure("search_s"):
                logits = self.engine.match(states, picture, grounded.tokens[text], grounded.lengths[text])
            probabilities = np.exp(-np.logaddexp(0.0, logits[:, 0] - logits[:, 1]))
            similarities = (image_vectors[picture] * text_vectors[text]).sum(axis=1)
            for index, probability, similarity in zip(text, probabilities, similarities, strict=True):
                matches.append(Match(descriptions[index], float(probability), float(similarity), self.name))
        self.timing = clock.timing()
        return matches

    def answer(
        self,
        images: ImageSource | Sequence[ImageSource],
        questions: str | Sequence[str],
        options: GenerateOptions | None = None,
        answers: Sequence[str] | None = None,
    ) -> list[Answer]:
        """Answers to questions: pairs in order, or one of either with many of the other. Each picture is encoded once.

        options: of the search; its beams give the runners-up (the default: 3 beams, at most 10 tokens). answers: the
        only ones allowed; each question gets the likeliest, by its whole likelihood among the RANKED likeliest by first
        word. A question longer than the model's positions is cut.
        """
        self.config.require("answer")
        asked = [questions] if isinstance(questions, str) else list(questions)
        options = options or _ANSWER_OPTIONS
        candidates = None if answers is None else self._answer_ids(answers)
        together = max(1, _MAX_ROWS // (_rows(options) if candidates is None else min(RANKED, len(candidates))))
        clock, found = Clock(), list[Answer]()
        for pixels, states, picture, text in self._encoded_pairs(as_list(images), len(asked), clock):
            for start in range(0, len(text), together):
                chosen = slice(start, start + together)
                texts = [asked[index] for index in text[chosen]]
                grounded = self.tokenizer.encode_grounded(texts, self.config.text.max_positions)
                with clock.measure("encode_s"):
                    read = self.engine.encode_questions(states, picture[chosen], grounded.tokens, grounded.lengths)
                with clock.measure("search_s"):
                    if answers is None or candidates is None:
                        about = zip(picture[chosen], texts, strict=True)
                        seeds = [digest(pixels[index], question) for index, question in about]
                        best = self._written_answers(read, options, seeds)
                    else:
                        ranked = rank(self.engine, read, candidates, RANKED)
                        best = [
                            [(answers[each.index], each.log_probability) for each in row[:_SHOWN]] for row in ranked
                        ]
                for question, ((answer, score), *others) in zip(texts, best, strict=True):
                    runners_up = tuple((other, exp(value)) for other, value in others)
                    found.append(Answer(question, answer, score, exp(score), runners_up, self.name))
        self.timing = clock.timing()
        return found

    def embed_images(self, images: ImageSource | Sequence[ImageSource]) -> Floats:
        """Unit vectors [pictures, projection]; their products with those of texts are the similarities of `match`."""
        self.config.require("embed")
        clock = Clock()
        vectors = [np.zeros((0, self.config.projection), np.float32)]
        for batch in self._batches(as_list(images), None, clock):
            pixels = pixels_or_raise(batch)
            with clock.measure("encode_s"):
                vectors.append(self.engine.embed_images(self.engine.encode_images(pixels)))
        self.timing = clock.timing()
        return np.concatenate(vectors)

    def embed_texts(self, texts: str | Sequence[str]) -> Floats:
        """Unit vectors [texts, projection]. A text longer than the model's positions is cut."""
        self.config.require("embed")
        clock = Clock()
        with clock.measure("encode_s"):
            vectors = self._text_vectors([texts] if isinstance(texts, str) else list(texts))
        self.timing = clock.timing()
        return vectors

    def _answer_ids(self, answers: Sequence[str]) -> list[list[int]]:
        """What stands behind [DEC], [SEP] included."""
        if not answers:
            raise InputError(
                "no answers to choose from: give at least one, or none at all to let the model write its own"
            )
        return [[*self.tokenizer.caption_prompt(answer)[1:], self.tokenizer.sep_id] for answer in answers]

    def _written_answers(
        self, read: QuestionStates, options: GenerateOptions, seeds: list[int]
    ) -> list[list[tuple[str, float]]]:
        """For each question the answers that the model writes and their log-probabilities, best first: of the beams, or
        of the draws."""
        wanted = options if options.sample else replace(options, num_return=options.num_beams)
        start = np.full((len(read), 1), self.tokenizer.dec_id, np.int64)
        hypotheses = generate(self.engine, read, start, np.ones(len(read), np.int64), wanted, seeds)
        if options.sample:
            hypotheses = [sorted(row, key=lambda each: -each.log_probability) for row in hypotheses]
        return [[(self.tokenizer.decode(each.tokens), each.log_probability) for each in row] for row in hypotheses]

    def _encoded_pairs(
        self, sources: Sequence[ImageSource], texts: int, clock: Clock
    ) -> Iterator[tuple[Floats, ImageStates, Ints, Ints]]:
        """The pairs of pictures and texts in order, some pictures at a time: their pixels and states, and each pair's
        picture, counted within these, and text."""
        pairs = np.array(_pair_up(len(sources), texts), np.int64).reshape(-1, 2)
        done = 0
        for batch in self._batches(sources if len(pairs) else (), None, clock):
            pixels = pixels_or_raise(batch)
            with clock.measure("encode_s"):
                states = self.engine.encode_images(pixels)
            here = pairs[(pairs[:, 0] >= done) & (pairs[:, 0] < done + len(pixels))]
            yield pixels, states, here[:, 0] - done, here[:, 1]
            done += len(pixels)

    def _batches(
        self, sources: Iterable[ImageSource], options: GenerateOptions | None, clock: Clock
    ) -> Iterator[list[Loaded]]:
        """Loaded pictures in their order, as many at a time as share an engine call."""
        size = _pictures_a_call(self.config, options)
        return read_batches(sources, size, self.config.vision, self.limits, clock)

    def _encode_prompts(self, prompts: Sequence[str], options: GenerateOptions) -> list[list[int]]:
        ids = [self.tokenizer.caption_prompt(prompt) for prompt in prompts]
        if ids:
            check_room(np.array([len(row) for row in ids]), options, self.config.text.max_positions)
        return ids

    def _outcomes(
        self, sources: Iterable[ImageSource], prompt_ids: list[int], options: GenerateOptions
    ) -> Iterator[Outcome]:
        clock = Clock()
        for batch in self._batches(sources, options, clock):
            pixels = [loaded.pixels for loaded in batch if loaded.pixels is not None]
            captions = iter(
                self._caption_batch(np.stack(pixels), [prompt_ids] * len(pixels), options, clock) if pixels else ()
            )
            for loaded in batch:
                if loaded.pixels is None:
                    yield Outcome(loaded.source, error=loaded.error)
                else:
                    yield Outcome(loaded.source, tuple(next(captions)))
            self.timing = clock.timing()

    def _caption_batch(
        self, pixels: Floats, prompts: list[list[int]], options: GenerateOptions, clock: Clock
    ) -> list[list[Caption]]:
        """pixels: [pictures, 3, size, size]; prompts: ids, one row a picture."""
        with clock.measure("encode_s"):
            states = self.engine.encode_images(pixels)
        with clock.measure("search_s"):
            # The seed follows the picture and not its place: a sampled caption must not depend on its neighbours.
            seeds = [digest(picture) for picture in pixels] if options.sample else None
            rows = self.tokenizer.pad(prompts)
            found = generate(self.engine, states, rows.tokens, rows.lengths, options, seeds)
            return [
                [self._caption(prompt, hypothesis) for hypothesis in hypotheses]
                for prompt, hypotheses in zip(prompts, found, strict=True)
            ]

    def _caption(self, prompt: list[int], hypothesis: Hypothesis) -> Caption:
        return Caption(
            text=self.tokenizer.decode([*prompt, *hypothesis.tokens]),
            log_probability=hypothesis.log_probability,
            probability=exp(hypothesis.log_probability / len(hypothesis.tokens)),
            tokens=tuple(self.tokenizer.pieces(hypothesis.tokens)),
            token_probabilities=tuple(exp(value) for value in hypothesis.log_probabilities),
            model=self.name,
        )

    def _text_vectors(self, texts: Sequence[str]) -> Floats:
        """Unit vectors [texts, projection]."""
        if not texts:
            return np.zeros((0, self.config.projection), np.float32)
        rows = self.tokenizer.encode_unimodal(texts, self.config.text.max_positions)
        return self.engine.embed_texts(rows.tokens, rows.lengths)


def _pictures_a_call(config: ModelConfig, options: GenerateOptions | None) -> int:
    """How many pictures share an engine call: bounded by count, by rows and by the image's keys and values in bf16."""
    rows = 1 if options is None else _rows(options)
    state_bytes = config.vision.tokens * config.text.width * config.text.layers * 2 * 2
    return max(1, min(_MAX_PICTURES, _MAX_ROWS // rows, _MAX_STATE_BYTES // state_bytes))


def _rows(options: GenerateOptions) -> int:
    """Rows that one picture, or question, takes in a decode."""
    return options.num_return if options.sample else options.num_beams


def _one_each(prompt: str | Sequence[str], pictures: int) -> list[str]:
    if isinstance(prompt, str):
        return [prompt] * pictures
    if len(prompt) != pictures:
        raise InputError(f"{len(prompt)} prompts do not go with {pictures} pictures: give one for all or one a picture")
    return list(prompt)


def _pair_up(pictures: int, texts: int) -> list[tuple[int, int]]:
    """(picture, text) of each pair; a single one of either goes with all of the other."""
    if pictures != texts and 1 not in (pictures, texts):
        raise InputError(
            f"{texts} texts do not go with {pictures} pictures: give as many of each, or one of either with many"
        )
    if pictures == texts:
        return [(index, index) for index in range(texts)]
    return [(picture, text) for picture in range(pictures) for text in range(texts)]


def _check_vocabulary(tokenizer: Tokenizer, config: ModelConfig, vocabulary: Path) -> None:
    text = config.text
    expected = (text.vocab_size, text.pad_id, text.cls_id, text.sep_id, text.dec_id, text.enc_id)
    found = (
        tokenizer.vocab_size, tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.dec_id, tokenizer.enc_id
    )  # fmt: skip
    if found != expected:
        raise CheckpointError(
            f"{vocabulary} does not fit its config.json: entries, [PAD], [CLS], [SEP], [DEC], [ENC] are {found}, "
            f"not {expected}; fetch the checkpoint again"
        )
