"""class Blip: pictures and texts in, typed results out. Lists in, lists out, in order.

Knows which checkpoint does a task, and how pictures and texts become batches. Does not know how a task is done (those
are the `tasks`), nor folders of files, tables or the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from openblip.config import ModelConfig, Task
from openblip.engine import Engine, Floats, Ints
from openblip.errors import InputError, OptionError, TextError
from openblip.image import DEFAULT_LIMITS, ImageLimits, ImageSource
from openblip.outcomes import ANSWER_OPTIONS, DEFAULT_OPTIONS, OfEachPicture
from openblip.outcomes import Outcome as Outcome
from openblip.parts import EngineName as EngineName
from openblip.parts import LoadOptions, OneCheckpoint, Part, Parts, load_parts
from openblip.pictures import WHOLE, Clock, Windows, as_list, raise_first_error
from openblip.tasks.analysis import Analyzer
from openblip.tasks.answers import Answerer
from openblip.tasks.captions import Captioner
from openblip.tasks.encoded import Encoded
from openblip.tasks.grounding import Grounder
from openblip.tasks.matches import Matcher, text_vectors
from openblip.tasks.stream import CaptionStream as CaptionStream
from openblip.tasks.stream import Tokens
from openblip.tasks.tags import tagger
from openblip.text import Conventions, Tokenizer
from openblip.types import (
    Analysis,
    Answer,
    Caption,
    GenerateOptions,
    Grounding,
    GroundOptions,
    Match,
    Tag,
    TagOptions,
    Timing,
)

_GROUND_OPTIONS = GroundOptions()
_STREAM_OPTIONS = GenerateOptions(num_beams=1)


class Blip(OfEachPicture):
    """A loaded model: `Blip.load("mini").caption(["photo.jpg"])`.

    Wherever pictures are asked for, give a path, an http(s) address, bytes, a PIL image or an array, or a list of them;
    one picture counts as a list of one. `timing` tells where the seconds of the last finished call went. `engine` and
    `tokenizer`, or those of `part(task)`, are there for work on arrays that this class does not offer.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, name: str, limits: ImageLimits = DEFAULT_LIMITS) -> None:
        self._set_up(OneCheckpoint(Part(name, engine, tokenizer)), limits)

    @classmethod
    def from_parts(cls, parts: Parts, limits: ImageLimits = DEFAULT_LIMITS) -> Blip:
        """A model of one checkpoint or several, as `openblip.parts` holds them."""
        blip = cls.__new__(cls)
        blip._set_up(parts, limits)
        return blip

    def _set_up(self, parts: Parts, limits: ImageLimits) -> None:
        self._parts, self.name, self.limits = parts, parts.name, limits
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
        lanes: int = 1,
        special_tokens: Conventions = "blip",
        limits: ImageLimits = DEFAULT_LIMITS,
    ) -> Blip:
        """Load a model by name ("mini"), folder (of ours or of transformers) or .pth of salesforce/BLIP; without one,
        OPENBLIP_MODEL if it is set, else "mini". Of a set ("base", "large") each checkpoint is loaded at first use.

        engine: "openvino" (CPU, needs no torch) or "torch" (CPU or CUDA). precision, device, threads: None lets the
        engine choose. image_size: side of the pictures in pixels, where it is to be another than the checkpoint's (its
        positions are then interpolated; ViT only). lanes: calls, from as many threads, that a small model does at the
        same time, each with its share of `threads`, which takes less time than one after the other; a call that is
        alone has all threads, and a large model does one. special_tokens: "blip" starts a text to match and a question
        with [ENC], as the models were trained; "transformers" starts them with [CLS], as its port does, and gives its
        scores and answers. limits: what a picture may cost before it is refused.

        Raises ModelNotFound, CheckpointError, OptionError or MissingExtra; of a set, when the checkpoint is first used.
        """
        return cls.from_parts(
            load_parts(
                name_or_folder, LoadOptions(engine, precision, device, threads, image_size, lanes, special_tokens)
            ),
            limits,
        )

    @property
    def parts(self) -> Parts:
        """The checkpoints by task, for work that lies below this class."""
        return self._parts

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the model can do."""
        return self._parts.tasks

    def part(self, task: Task) -> Part:
        """The checkpoint that does a task, with its `name`, `engine`, `tokenizer` and `config`; loaded now if it was
        not yet. Raises ModelError where the model cannot do it, or what loading raises."""
        return self._parts.of(task)

    @property
    def engine(self) -> Engine:
        """The engine of a model with one checkpoint. Raises ModelError for a set."""
        return self._parts.only("engine").engine

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of a model with one checkpoint. Raises ModelError for a set."""
        return self._parts.only("tokenizer").tokenizer

    @property
    def config(self) -> ModelConfig:
        """The sizes of a model with one checkpoint. Raises ModelError for a set."""
        return self._parts.only("config").config

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
        part, sources, options = self.part("caption"), as_list(images), options or DEFAULT_OPTIONS
        captioner = Captioner(part, options)
        prompts = captioner.encode_prompts(_one_each(prompt, len(sources)))
        clock, results = Clock(), list[list[Caption]]()
        for encoded in self._encoded(sources, [part], options.rows, clock):
            results += captioner.captions(encoded, prompts[len(results) : len(results) + len(encoded)])
        self.timing = clock.timing()
        return results

    def caption_stream(
        self, image: ImageSource, prompt: str = "", options: GenerateOptions | None = None
    ) -> CaptionStream:
        """The caption of one picture in pieces, as it grows: greedy by default, or sampled.

        The pieces' texts joined are the text of `caption` with the same options; after the last one `.caption` of the
        stream is that Caption. The search goes on only as pieces are asked for, and ends when the stream is closed.

        Raises OptionError for beams, which know their text at the end alone, and ImageError, both at once.
        """
        part, options = self.part("caption"), options or _STREAM_OPTIONS
        sources = as_list(image)
        if len(sources) != 1:
            raise InputError(f"caption_stream takes one picture, not {len(sources)}: call it for each")
        captioner, clock = Captioner(part, options), Clock()
        [prompt_ids] = captioner.encode_prompts([prompt])
        captioner.check_streamed()
        [encoded] = self._encoded(sources, [part], options.rows, clock)

        def timed() -> Tokens:
            caption = yield from captioner.tokens(encoded, prompt_ids)
            self.timing = clock.timing()
            return caption

        return CaptionStream(timed(), part.tokenizer, prompt_ids)

    def match(self, images: ImageSource | Sequence[ImageSource], texts: str | Sequence[str]) -> list[Match]:
        """How well each text describes its picture: pairs in order, or one of either with many of the other.

        A text longer than the model's positions is cut; an empty one raises TextError.
        """
        matching, embedding, clock = self.part("match"), self.part("embed"), Clock()
        sources, descriptions = as_list(images), _as_texts(texts)
        pairs = _pair_up(len(sources), len(descriptions))
        matcher, matches = Matcher(matching, embedding, descriptions, clock), list[Match]()
        for encoded, picture, text in self._encoded_pairs(sources, pairs, [matching, embedding], clock):
            matches += matcher.matches(encoded, picture, text)
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
        only ones allowed; each question gets the likeliest, by its whole likelihood among the 128 likeliest by first
        word. A question longer than the model's positions is cut; an empty one raises TextError.
        """
        part, asked, clock = self.part("answer"), _as_texts(questions), Clock()
        answerer, found, sources = Answerer(part, options or ANSWER_OPTIONS, answers), list[Answer](), as_list(images)
        for encoded, picture, text in self._encoded_pairs(sources, _pair_up(len(sources), len(asked)), [part], clock):
            found += answerer.answers(encoded, picture, [asked[index] for index in text])
        self.timing = clock.timing()
        return found

    def analyze(
        self,
        images: ImageSource | Sequence[ImageSource],
        *,
        caption: bool = False,
        prompt: str = "",
        options: GenerateOptions | None = None,
        questions: str | Sequence[str] = (),
        answer_options: GenerateOptions | None = None,
        answers: Sequence[str] | None = None,
        texts: str | Sequence[str] = (),
        embed: bool = False,
        ground: bool = False,
        phrases: str | Sequence[str] | None = None,
        ground_options: GroundOptions | None = None,
    ) -> list[Analysis]:
        """Everything about each picture at once; it is encoded once by each checkpoint that is asked.

        caption: whether to caption it, after `prompt` and with `options`. questions: to be answered, all of them with
        `answer_options` and `answers` as in `answer`. texts: to be matched. embed: whether its vector is wanted.
        ground: whether to say where `phrases` are, as in `ground`; without phrases, those of its first caption.

        Raises TextError on an empty question or text, InputError where nothing is asked, or something is given for a
        task that is not.
        """
        asked, descriptions, clock = _as_texts(questions), _as_texts(texts), Clock()
        if not (caption or asked or descriptions or embed or ground):
            raise InputError("nothing to analyze: ask for caption=True, questions, texts, embed=True or ground=True")
        _check_company(caption, prompt or options, "prompt and options are for captions: give caption=True too")
        _check_company(asked, answer_options or answers is not None, "answers and answer_options go with questions")
        _check_company(ground, phrases or ground_options, "phrases and ground_options go with ground=True: give it too")
        options, analyzer = options or DEFAULT_OPTIONS, Analyzer(self.part("embed") if embed else None)
        if caption:
            analyzer.caption(Captioner(self.part("caption"), options), prompt)
        if asked:
            analyzer.answer(Answerer(self.part("answer"), answer_options or ANSWER_OPTIONS, answers), asked)
        if descriptions:
            matcher = Matcher(self.part("match"), self.part("embed"), descriptions, clock)
            analyzer.match(matcher, len(descriptions))
        if ground:
            grounder = Grounder(self.part("match"), self.part("embed"), ground_options or _GROUND_OPTIONS)
            named = _as_texts(phrases or ())
            own = None if named or caption else Captioner(self.part("caption"), options)
            analyzer.ground(grounder, named, own)
        results, rows = list[Analysis](), options.rows if caption or ground else 1
        for encoded in self._encoded(as_list(images), analyzer.parts, rows, clock, analyzer.windows):
            results += analyzer.analyses(encoded)
        self.timing = clock.timing()
        return results

    def ground(
        self,
        images: ImageSource | Sequence[ImageSource],
        phrases: str | Sequence[str] | None = None,
        options: GroundOptions | None = None,
    ) -> list[list[Grounding]]:
        """Where in each picture each phrase is: its hottest point, boxes and a heatmap; without phrases, every noun
        phrase of the picture's own caption. `openblip.regions` makes masks and overlays of them.

        A phrase longer than the model's positions is cut; an empty one raises TextError.
        """
        found = self.analyze(images, ground=True, phrases=phrases, ground_options=options)
        return [list(analysis.groundings) for analysis in found]

    def tag(
        self,
        images: ImageSource | Sequence[ImageSource],
        labels: Sequence[str] | None = None,
        options: TagOptions | None = None,
    ) -> list[list[Tag]]:
        """Which of the labels fit each picture, the best first: perhaps none, perhaps several.

        labels: any words; without them the built-in ones, things of everyday scenes that `mini` knows. A picture is
        encoded once, however many there are. Raises OptionError on an empty label, ImageError at the first picture
        that cannot be used; `tag_each` goes on instead.
        """
        clock, found = Clock(), list[list[Tag]]()
        chooser = tagger(self.part("match"), self.part("embed"), labels, options, clock)
        for encoded in self._encoded(as_list(images), chooser.parts, 1, clock):
            found += map(list, chooser.tags(encoded))
        self.timing = clock.timing()
        return found

    def embed_images(self, images: ImageSource | Sequence[ImageSource]) -> Floats:
        """Unit vectors [pictures, projection]; their products with those of texts are the similarities of `match`."""
        part, clock = self.part("embed"), Clock()
        vectors = [np.zeros((0, part.config.projection), np.float32)]
        vectors += [encoded.vectors(part) for encoded in self._encoded(as_list(images), [part], 1, clock)]
        self.timing = clock.timing()
        return np.concatenate(vectors)

    def embed_texts(self, texts: str | Sequence[str]) -> Floats:
        """Unit vectors [texts, projection]. A text longer than the model's positions is cut; an empty one raises
        TextError."""
        part, clock = self.part("embed"), Clock()
        with clock.measure("encode_s"):
            vectors = text_vectors(part, _as_texts(texts))
        self.timing = clock.timing()
        return vectors

    def _encoded_pairs(
        self, sources: Sequence[ImageSource], pairs: Ints, parts: Sequence[Part], clock: Clock
    ) -> Iterator[tuple[Encoded, Ints, Ints]]:
        """The pairs of pictures and texts in order, some pictures at a time: each pair's picture, counted within these,
        and text."""
        done = 0
        for encoded in self._encoded(sources if len(pairs) else (), parts, 1, clock):
            here = pairs[(pairs[:, 0] >= done) & (pairs[:, 0] < done + len(encoded))]
            yield encoded, here[:, 0] - done, here[:, 1]
            done += len(encoded)

    def _encoded(
        self,
        sources: Sequence[ImageSource],
        parts: Sequence[Part],
        rows: int,
        clock: Clock,
        windows: Windows = WHOLE,
    ) -> Iterator[Encoded]:
        """Pictures in their order, as many at a time as share an engine call. Raises the first picture's error."""
        for batch in self._batches(sources, parts, rows, clock, windows=windows):
            raise_first_error(batch)
            yield Encoded(batch, parts, clock)


def _check_company(task: object, given: object, remedy: str) -> None:
    """Raise InputError where something is given for a task that is not asked."""
    if given and not task:
        raise InputError(remedy)


def _as_texts(texts: str | Sequence[str]) -> list[str]:
    """Raises TextError where one is empty: the model would say something of it all the same."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    for place, text in enumerate(texts, 1):
        if not text or str(text).isspace():
            raise TextError(f"text {place} of {len(texts)} is empty ({text!r}): give it words, or leave it out")
    return texts


def _one_each(prompt: str | Sequence[str], pictures: int) -> list[str]:
    if isinstance(prompt, str):
        return [prompt] * pictures
    if len(prompt) != pictures:
        raise InputError(f"{len(prompt)} prompts do not go with {pictures} pictures: give one for all or one a picture")
    return list(prompt)


def _pair_up(pictures: int, texts: int) -> Ints:
    """Picture and text of each pair, [pairs, 2]; a single one of either goes with all of the other."""
    if pictures != texts and 1 not in (pictures, texts):
        raise InputError(
            f"{texts} texts do not go with {pictures} pictures: give as many of each, or one of either with many"
        )
    if pictures == texts:
        return np.arange(texts)[:, None].repeat(2, axis=1)
    return np.stack([np.repeat(np.arange(pictures), texts), np.tile(np.arange(texts), pictures)], axis=1)
