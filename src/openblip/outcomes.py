"""Any number of pictures, a batch at a time: what became of each, in order. One that cannot be used ends nothing.

Knows how batches go to an engine's lanes. Does not know how a task is done, nor how a model is loaded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from openblip.config import Task
from openblip.errors import InputError, OpenBlipError, TextError
from openblip.image import ImageLimits, ImageSource
from openblip.parts import Part
from openblip.pictures import WHOLE, Clock, Loaded, Windows, read_batches, wait_for
from openblip.tasks.answers import Answerer
from openblip.tasks.captions import Captioner
from openblip.tasks.encoded import Encoded
from openblip.tasks.matches import Matcher
from openblip.tasks.tags import tagger
from openblip.types import Answer, Caption, Embedding, GenerateOptions, Match, Tag, TagOptions, Timing

if TYPE_CHECKING:
    from concurrent.futures import Future

DEFAULT_OPTIONS = GenerateOptions()
ANSWER_OPTIONS = GenerateOptions.for_answers()

Own = TypeVar("Own")
"""What is asked of one picture."""
Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one of many pictures: what was asked for, its captions, its answers, its matches, its tags or its
    embedding, or the error that kept it from having any.

    source, prompt: as they were handed in. answers, matches: one a question, or text, of the picture, in their order.
    """

    source: ImageSource
    captions: tuple[Caption, ...] = ()
    error: OpenBlipError | None = None
    embedding: Embedding | None = None
    prompt: str = ""
    answers: tuple[Answer, ...] = ()
    matches: tuple[Match, ...] = ()
    tags: tuple[Tag, ...] = ()


class OfEachPicture:
    """The methods of `Blip` that take any number of pictures and hand out an Outcome for each.

    The next pictures are read while batches are computed, as many at the same time as the engine has lanes; sources may
    be a generator, of which at most two batches are read ahead, and one a further lane. What is asked of each picture
    may come from a generator too, and is taken after its picture.
    """

    limits: ImageLimits
    timing: Timing

    def part(self, task: Task) -> Part:
        """The checkpoint that does a task."""
        raise NotImplementedError

    def caption_each(
        self,
        sources: Iterable[ImageSource],
        prompt: str | Iterable[str] = "",
        options: GenerateOptions | None = None,
    ) -> Iterator[Outcome]:
        """Captions of any number of pictures in their order, handed out batch by batch.

        A picture that cannot be used comes out as an Outcome with its error, and the rest goes on. prompt: one for all,
        or one a picture.

        Raises OptionError or TextError at once where options or the prompt of all do not suit the model; a picture's
        own prompt that does not is its error.
        """
        part, options = self.part("caption"), options or DEFAULT_OPTIONS
        captioner = Captioner(part, options)
        if isinstance(prompt, str):
            captioner.encode_prompts([prompt])
        prompts = repeat(prompt) if isinstance(prompt, str) else iter(prompt)

        def work(batch: list[Loaded], own: list[str], clock: Clock) -> list[Outcome]:
            ids = captioner.encode_each(own)
            usable, errors = _usable(batch, [row if isinstance(row, InputError) else None for row in ids])
            encoded = Encoded([batch[place] for place in usable], [part], clock)
            rows = [row for place in usable if not isinstance(row := ids[place], InputError)]
            captions = dict(zip(usable, captioner.captions(encoded, rows) if usable else (), strict=True))
            return [
                Outcome(loaded.source, tuple(captions.get(place, ())), error, prompt=own[place])
                for place, (loaded, error) in enumerate(zip(batch, errors, strict=True))
            ]

        return self._each(sources, prompts, "prompts", [part], options.rows, work)

    def answer_each(
        self,
        sources: Iterable[ImageSource],
        questions: str | Sequence[str] | Iterable[Sequence[str]],
        options: GenerateOptions | None = None,
        answers: Sequence[str] | None = None,
    ) -> Iterator[Outcome]:
        """Answers about any number of pictures, as `caption_each` gives captions.

        questions: one or several that are asked of all pictures; or an iterable that is no list of texts, with the
        questions of each picture. options, answers: as in `answer`. Raises TextError at once on an empty question of
        all; of a picture's own it is its error.
        """
        part = self.part("answer")
        answerer = Answerer(part, options or ANSWER_OPTIONS, answers)

        def work(batch: list[Loaded], own: list[Texts], clock: Clock) -> list[Outcome]:
            usable, errors = _usable(batch, [_fault(texts, "question") for texts in own])
            encoded = Encoded([batch[place] for place in usable], [part], clock)
            picture, asked = _pairs([own[place] for place in usable])
            found = iter(answerer.answers(encoded, picture, asked))
            answers = {place: tuple(islice(found, len(own[place]))) for place in usable}
            return [
                Outcome(loaded.source, error=error, answers=answers.get(place, ()))
                for place, (loaded, error) in enumerate(zip(batch, errors, strict=True))
            ]

        return self._each(sources, _own_texts(questions, "question"), "questions", [part], 1, work)

    def match_each(
        self, sources: Iterable[ImageSource], texts: str | Sequence[str] | Iterable[Sequence[str]]
    ) -> Iterator[Outcome]:
        """How well texts describe any number of pictures, as `caption_each` gives captions.

        texts: one or several that are held against all pictures; or an iterable that is no list of texts, with the
        texts of each picture. Raises TextError at once on an empty text of all; of a picture's own it is its error.
        """
        matching, embedding = parts = (self.part("match"), self.part("embed"))
        of_all, owns = _of_all(texts), _own_texts(texts, "text")
        shared = Matcher(matching, embedding, of_all, Clock()) if of_all else None

        def work(batch: list[Loaded], own: list[Texts], clock: Clock) -> list[Outcome]:
            usable, errors = _usable(batch, [_fault(texts, "text") for texts in own])
            encoded = Encoded([batch[place] for place in usable], parts, clock)
            picture, described = _pairs([own[place] for place in usable])
            distinct = of_all or tuple(dict.fromkeys(described))
            places = {text: place for place, text in enumerate(distinct)}
            matcher = shared or Matcher(matching, embedding, distinct, clock)
            text = np.array([places[each] for each in described], np.int64)
            found = iter(matcher.matches(encoded, picture, text) if usable else ())
            matches = {place: tuple(islice(found, len(own[place]))) for place in usable}
            return [
                Outcome(loaded.source, error=error, matches=matches.get(place, ()))
                for place, (loaded, error) in enumerate(zip(batch, errors, strict=True))
            ]

        return self._each(sources, owns, "texts", parts, 1, work)

    def tag_each(
        self,
        sources: Iterable[ImageSource],
        labels: Sequence[str] | None = None,
        options: TagOptions | None = None,
    ) -> Iterator[Outcome]:
        """Tags of any number of pictures, as `caption_each` gives captions. labels, options: as in `tag`."""
        chooser = tagger(self.part("match"), self.part("embed"), labels, options, Clock())

        def work(batch: list[Loaded], own: list[None], clock: Clock) -> list[Outcome]:
            usable, errors = _usable(batch, [None] * len(batch))
            encoded = Encoded([batch[place] for place in usable], chooser.parts, clock)
            tags = dict(zip(usable, chooser.tags(encoded) if usable else (), strict=True))
            return [
                Outcome(loaded.source, error=error, tags=tags.get(place, ()))
                for place, (loaded, error) in enumerate(zip(batch, errors, strict=True))
            ]

        return self._each(sources, repeat(None), "", chooser.parts, 1, work)

    def embed_each(self, sources: Iterable[ImageSource]) -> Iterator[Outcome]:
        """Embeddings of any number of pictures, as `caption_each` gives captions: in order, batch by batch, a picture
        that cannot be used with its error."""
        part = self.part("embed")

        def work(batch: list[Loaded], own: list[None], clock: Clock) -> list[Outcome]:
            usable, errors = _usable(batch, [None] * len(batch))
            encoded = Encoded([batch[place] for place in usable], [part], clock)
            vectors = dict(zip(usable, encoded.vectors(part) if usable else (), strict=True))
            return [
                Outcome(loaded.source, error=error, embedding=None if error else _embedding(vectors[place], part))
                for place, (loaded, error) in enumerate(zip(batch, errors, strict=True))
            ]

        return self._each(sources, repeat(None), "", [part], 1, work)

    def _batches(
        self,
        sources: Iterable[ImageSource],
        parts: Sequence[Part],
        rows: int,
        clock: Clock,
        lanes: int = 1,
        windows: Windows = WHOLE,
    ) -> Iterator[list[Loaded]]:
        size = max(1, min(part.pictures_a_call(rows) for part in parts) // (1 + len(windows.places)))
        vision = [part.config.vision for part in parts]
        return read_batches(sources, size, vision, self.limits, clock, ahead=1 + lanes, windows=windows)

    def _each(
        self,
        sources: Iterable[ImageSource],
        owns: Iterator[Own],
        asked: str,
        parts: Sequence[Part],
        rows: int,
        work: Callable[[list[Loaded], list[Own], Clock], list[Outcome]],
    ) -> Iterator[Outcome]:
        """asked: what the owns are, in words. rows: of one picture in an engine call."""
        clock, lanes = Clock(), min(part.engine.lanes for part in parts)

        def calls() -> Iterator[Callable[[], list[Outcome]]]:
            for batch in self._batches(sources, parts, rows, clock, lanes):
                own = list(islice(owns, len(batch)))
                if len(own) < len(batch):
                    raise InputError(f"the {asked} ended before the pictures: give one for all or one a picture")
                yield lambda batch=batch, own=own: work(batch, own, clock)  # type: ignore[misc]

        for outcomes in in_lanes(calls(), lanes):
            yield from outcomes
            self.timing = clock.timing()


def in_lanes(calls: Iterable[Callable[[], Own]], lanes: int) -> Iterator[Own]:
    """The results of calls in their order, so many at work at the same time; with one lane, in this thread. A call is
    taken when there is room for it."""
    if lanes == 1:
        yield from (call() for call in calls)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(lanes, thread_name_prefix="openblip-lane") as pool:
        pending: deque[Future[Own]] = deque()
        try:
            for call in calls:
                pending.append(pool.submit(call))
                if len(pending) > lanes:
                    yield wait_for(pending.popleft())
            while pending:
                yield wait_for(pending.popleft())
        finally:  # also when the caller stops early
            pool.shutdown(wait=False, cancel_futures=True)


def _usable(
    batch: Sequence[Loaded], faults: Sequence[OpenBlipError | None]
) -> tuple[list[int], list[OpenBlipError | None]]:
    """The places of the pictures that can be worked on, and what is wrong with each. faults: with what is asked."""
    errors = [loaded.error or fault for loaded, fault in zip(batch, faults, strict=True)]
    return [place for place, error in enumerate(errors) if error is None], errors


def _of_all(texts: str | Sequence[str] | Iterable[Sequence[str]]) -> Texts:
    """What every picture is asked, where that is the same: one text, or a list of them; else nothing."""
    if isinstance(texts, str):
        return (texts,)
    if isinstance(texts, (list, tuple)) and all(isinstance(text, str) for text in texts):
        return tuple(texts)
    return ()


def _own_texts(texts: str | Sequence[str] | Iterable[Sequence[str]], kind: str) -> Iterator[Texts]:
    """What each picture is asked. Raises TextError where one that all are asked is empty."""
    if of_all := _of_all(texts):
        if fault := _fault(of_all, kind):
            raise fault
        return repeat(of_all)
    return ((own,) if isinstance(own, str) else tuple(own) for own in texts)


def _fault(texts: Texts, kind: str) -> TextError | None:
    if not texts:
        return TextError(f"there is no {kind} for the picture: give it one, or leave it out")
    for place, text in enumerate(texts, 1):
        if not text or str(text).isspace():
            return TextError(f"{kind} {place} of {len(texts)} is empty ({text!r}): give it words, or leave it out")
    return None


def _pairs(texts: Sequence[Texts]) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], list[str]]:
    """Of every text its picture [texts], and all texts."""
    picture = np.repeat(np.arange(len(texts)), [len(own) for own in texts]).astype(np.int64)
    return picture, [text for own in texts for text in own]


def _embedding(vector: Iterable[float], part: Part) -> Embedding:
    return Embedding(tuple(np.asarray(vector).tolist()), part.name)
