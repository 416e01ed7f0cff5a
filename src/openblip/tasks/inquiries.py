"""A batch of pictures of which each is asked something of its own: encoded together, and what is asked alike is done
together. Knows parts and encoded pictures. Does not know who asks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from openblip.config import Task
from openblip.engine import ImageStates
from openblip.errors import InputError, TextError
from openblip.parts import Part, Parts
from openblip.pictures import Clock, Loaded, Windows
from openblip.tasks.answers import Answerer
from openblip.tasks.captions import Captioner
from openblip.tasks.encoded import Encoded
from openblip.tasks.grounding import Grounder, phrases_of, windows_for
from openblip.tasks.matches import Matcher
from openblip.types import Analysis, Answer, Caption, Embedding, GenerateOptions, Grounding, GroundOptions, Match

Key = TypeVar("Key", bound=Hashable)
_NAMING = GenerateOptions()
"""Of the caption whose noun phrases are looked for, where no other is asked for."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """All that is asked about one picture.

    caption: how to caption it, or None; prompt: what the caption starts with. questions: to be answered, as `answering`
    says, with one of `answers` where they are given. texts: to be matched. embed: whether its vector is wanted.
    grounding: how to say where `phrases` are, or without any the noun phrases of its caption; or None. overlays:
    whether that is to be drawn.
    """

    caption: GenerateOptions | None = None
    prompt: str = ""
    questions: tuple[str, ...] = ()
    answering: GenerateOptions = field(default_factory=GenerateOptions.for_answers)
    answers: tuple[str, ...] | None = None
    texts: tuple[str, ...] = ()
    embed: bool = False
    grounding: GroundOptions | None = None
    phrases: tuple[str, ...] = ()
    overlays: bool = False

    @property
    def names_itself(self) -> bool:
        """Whether a caption has to say what to look for."""
        return self.grounding is not None and not self.phrases

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What a checkpoint must be able to do for it, in the order of `config.TASKS`."""
        matched = bool(self.texts) or self.grounding is not None
        wanted: dict[Task, bool] = {
            "caption": self.caption is not None or self.names_itself, "answer": bool(self.questions), "match": matched,
            "embed": matched or self.embed,
        }  # fmt: skip
        return tuple(task for task, is_wanted in wanted.items() if is_wanted)

    @property
    def rows(self) -> int:
        """Rows that a decode of one picture, or question, takes at most."""
        caption = self.caption or (_NAMING if self.names_itself else None)
        return max(caption.rows if caption else 1, self.answering.rows if self.questions else 1)


@dataclass
class _Found:
    captions: tuple[Caption, ...] = ()
    answers: tuple[Answer, ...] = ()
    matches: tuple[Match, ...] = ()
    embedding: Embedding | None = None
    groundings: tuple[Grounding, ...] = ()


@dataclass
class _Group:
    """The pictures that one checkpoint looks at. places: in the batch; encoded: those alone."""

    places: list[int]
    encoded: Encoded
    of: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.of = {place: row for row, place in enumerate(self.places)}


def parts_for(parts: Parts, inquiries: Iterable[Inquiry]) -> list[Part]:
    """The checkpoints that are needed, each once, loaded. Raises ModelError where there is none for a task."""
    tasks = dict.fromkeys(task for inquiry in inquiries for task in inquiry.tasks)
    return list(dict.fromkeys(parts.of(task) for task in tasks))


def check(parts: Parts, inquiry: Inquiry) -> None:
    """Raises ModelError, OptionError or TextError on what this model cannot be asked; InputError where nothing is."""
    if not inquiry.tasks:
        raise InputError("nothing is asked: give a caption, questions, texts, embed or ground")
    for text in (*inquiry.questions, *inquiry.texts, *inquiry.phrases):
        if not text.strip():
            raise TextError(f"a question, text or phrase is empty ({text!r}): give it words, or leave it out")
    parts_for(parts, [inquiry])
    if inquiry.caption is not None:
        Captioner(parts.of("caption"), inquiry.caption).encode_prompts([inquiry.prompt])
    if inquiry.questions:
        Answerer(parts.of("answer"), inquiry.answering, inquiry.answers)


def needs_pixels(inquiry: Inquiry) -> bool:
    """Whether pixels are needed even of an encoded picture: what is sampled follows from them, and its windows were not
    kept."""
    return inquiry.grounding is not None or bool(
        (inquiry.caption and inquiry.caption.sample) or (inquiry.questions and inquiry.answering.sample)
    )


def windows_of(parts: Parts, inquiry: Inquiry) -> Windows | None:
    """With which a picture must be read, or None where its size does not matter either. Raises ModelError."""
    return None if inquiry.grounding is None else windows_for(parts.of("match").config, inquiry.grounding)


def analyses(
    parts: Parts,
    needed: Sequence[Part],
    batch: Sequence[Loaded],
    inquiries: Sequence[Inquiry],
    clock: Clock,
    known: Sequence[Mapping[Part, ImageStates]] = (),
    seen: Callable[[int, Part, ImageStates], None] = lambda place, part, states: None,
) -> list[Analysis]:
    """One a picture.

    batch: pictures without errors, loaded for the parts that are `needed`, in their order. known: what parts made of
    each picture before. seen: told of each picture, by its place, what a part made of it now.
    """
    whole = Encoded(batch, needed, clock, known)
    found = [_Found() for _ in batch]
    groups = {part: _group(parts, part, whole, inquiries) for part in needed}
    for part, group in groups.items():
        for row, place in enumerate(group.places):
            if not known or part not in known[place]:
                seen(place, part, group.encoded.states(part).take(np.array([row])))
    _caption(parts, groups, inquiries, found)
    _answer(parts, groups, inquiries, found)
    _match(parts, groups, inquiries, found, clock)
    _embed(parts, groups, inquiries, found)
    _ground(parts, groups, inquiries, found)
    return [Analysis(each.captions, each.answers, each.matches, each.embedding, each.groundings) for each in found]


def _group(parts: Parts, part: Part, whole: Encoded, inquiries: Sequence[Inquiry]) -> _Group:
    places = [place for place, inquiry in enumerate(inquiries) if any(parts.of(task) is part for task in inquiry.tasks)]
    group = _Group(places, whole.take(places))
    group.encoded.states(part)
    return group


def _caption(parts: Parts, groups: dict[Part, _Group], inquiries: Sequence[Inquiry], found: Sequence[_Found]) -> None:
    for options, places in _alike((each.caption, place) for place, each in enumerate(inquiries) if each.caption):
        captioner, group = Captioner(parts.of("caption"), options), groups[parts.of("caption")]
        encoded = group.encoded.take([group.of[place] for place in places])
        prompts = captioner.encode_prompts([inquiries[place].prompt for place in places])
        for place, row in zip(places, captioner.captions(encoded, prompts), strict=True):
            found[place].captions = tuple(row)


def _answer(parts: Parts, groups: dict[Part, _Group], inquiries: Sequence[Inquiry], found: Sequence[_Found]) -> None:
    asking = (((each.answering, each.answers), place) for place, each in enumerate(inquiries) if each.questions)
    for (options, answers), places in _alike(asking):
        answerer, group = Answerer(parts.of("answer"), options, answers), groups[parts.of("answer")]
        pairs = [(place, question) for place in places for question in inquiries[place].questions]
        picture = np.array([group.of[place] for place, _ in pairs], dtype=np.int64)
        said = answerer.answers(group.encoded, picture, [question for _, question in pairs])
        for (place, _), answer in zip(pairs, said, strict=True):
            found[place].answers += (answer,)


def _match(
    parts: Parts, groups: dict[Part, _Group], inquiries: Sequence[Inquiry], found: Sequence[_Found], clock: Clock
) -> None:
    pairs = [(place, text) for place, inquiry in enumerate(inquiries) for text in inquiry.texts]
    if not pairs:
        return
    matching, embedding = parts.of("match"), parts.of("embed")
    texts = {text: number for number, text in enumerate(dict.fromkeys(text for _, text in pairs))}
    matcher = Matcher(matching, embedding, list(texts), clock)
    places = sorted({place for place, _ in pairs})
    rows, group = {place: row for row, place in enumerate(places)}, groups[matching]
    encoded = group.encoded.take([group.of[place] for place in places])
    picture = np.array([rows[place] for place, _ in pairs], dtype=np.int64)
    text = np.array([texts[text] for _, text in pairs], dtype=np.int64)
    for (place, _), match in zip(pairs, matcher.matches(encoded, picture, text), strict=True):
        found[place].matches += (match,)


def _embed(parts: Parts, groups: dict[Part, _Group], inquiries: Sequence[Inquiry], found: Sequence[_Found]) -> None:
    places = [place for place, inquiry in enumerate(inquiries) if inquiry.embed]
    if not places:
        return
    part = parts.of("embed")
    group = groups[part]
    vectors = group.encoded.take([group.of[place] for place in places]).vectors(part)
    for place, vector in zip(places, vectors, strict=True):
        found[place].embedding = Embedding(tuple(vector.tolist()), part.name)


def _ground(parts: Parts, groups: dict[Part, _Group], inquiries: Sequence[Inquiry], found: Sequence[_Found]) -> None:
    for options, places in _alike((each.grounding, place) for place, each in enumerate(inquiries) if each.grounding):
        grounder, group = Grounder(parts.of("match"), parts.of("embed"), options), groups[parts.of("match")]
        unnamed = [place for place in places if inquiries[place].names_itself and not found[place].captions]
        named: dict[int, Sequence[Caption]] = {place: found[place].captions for place in places}
        if unnamed:
            captioner, own = Captioner(parts.of("caption"), _NAMING), groups[parts.of("caption")]
            encoded = own.encoded.take([own.of[place] for place in unnamed])
            prompts = captioner.encode_prompts([""] * len(unnamed))
            named |= dict(zip(unnamed, captioner.captions(encoded, prompts), strict=True))
        phrases = [list(inquiries[place].phrases) or phrases_of(named[place]) for place in places]
        encoded = group.encoded.take([group.of[place] for place in places])
        for place, row in zip(places, grounder.groundings(encoded, phrases), strict=True):
            found[place].groundings = row


def _alike(pairs: Iterable[tuple[Key, int]]) -> Iterable[tuple[Key, list[int]]]:
    """The places of what is asked alike, together."""
    groups: dict[Key, list[int]] = defaultdict(list)
    for key, place in pairs:
        groups[key].append(place)
    return groups.items()
