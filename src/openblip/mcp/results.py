"""What the tools answer, as the assistant sees it: fields, their meaning and so the schema. Knows results of a model,
not how they came about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, PrivateAttr

from openblip.types import Answer, Caption, Grounding, Match

if TYPE_CHECKING:
    from openblip.library import Hit

_DIGITS = 4  # more say nothing, and an assistant pays for each

Model = Annotated[str, Field(description="The model that said so.")]
Probability = Annotated[float, Field(ge=0, le=1)]


class CaptionLine(BaseModel):
    """A caption."""

    text: str
    probability: Annotated[Probability, Field(description="Geometric mean of the probabilities of its words.")]


class Captions(BaseModel):
    """Captions of one picture."""

    captions: Annotated[list[CaptionLine], Field(description="The best first.")]
    model: Model

    @classmethod
    def of(cls, captions: Sequence[Caption]) -> Captions:
        """From those of a model."""
        lines = [CaptionLine(text=each.text, probability=_short(each.probability)) for each in captions]
        return cls(captions=lines, model=captions[0].model)


class Choice(BaseModel):
    """An answer that was less likely."""

    text: str
    probability: Probability


class AnswerLine(BaseModel):
    """The answer to a question."""

    question: str
    answer: str
    probability: Annotated[Probability, Field(description="Of the whole answer: low means that the model guesses.")]
    others: Annotated[list[Choice], Field(description="The runners-up, the likeliest first.")]


class Answers(BaseModel):
    """Answers about one picture."""

    answers: Annotated[list[AnswerLine], Field(description="One a question, in their order.")]
    model: Model

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> Answers:
        """From those of a model."""
        return cls(answers=[_answer_line(each) for each in answers], model=answers[0].model)


class MatchLine(BaseModel):
    """How well a text describes the picture."""

    text: str
    probability: Annotated[
        Probability, Field(description="That it describes the picture (image-text matching). The figure to decide by.")
    ]
    similarity: Annotated[float, Field(ge=-1, le=1, description="Cosine of the embeddings of picture and text.")]


class Matches(BaseModel):
    """Scores of texts for one picture."""

    matches: Annotated[list[MatchLine], Field(description="The best first.")]
    model: Model

    @classmethod
    def of(cls, matches: Sequence[Match]) -> Matches:
        """From those of a model, in any order."""
        lines = [
            MatchLine(text=each.text, probability=_short(each.probability), similarity=_short(each.similarity))
            for each in sorted(matches, key=lambda match: -match.probability)
        ]
        return cls(matches=lines, model=matches[0].model)


class Point(BaseModel):
    """In pixels of the picture as it is shown, from its upper left corner."""

    x: int
    y: int


class BoxLine(BaseModel):
    """A rectangle, in the same pixels."""

    left: int
    top: int
    right: int
    bottom: int
    score: Annotated[Probability, Field(description="The highest heat in it; 1 is the hottest of the picture.")]


class GroundingLine(BaseModel):
    """Where a thing is."""

    phrase: str
    probability: Annotated[
        Probability, Field(description="That the phrase describes the picture: low if it is not there.")
    ]
    similarity: Annotated[float, Field(ge=-1, le=1, description="Cosine of the embeddings of picture and phrase.")]
    peak: Annotated[Point, Field(description="The likeliest point.")]
    boxes: Annotated[list[BoxLine], Field(description="Around what is hot, the hottest first.")]
    width: Annotated[int, Field(description="Of the picture, in pixels.")]
    height: int


class Groundings(BaseModel):
    """Where things are in one picture."""

    groundings: Annotated[list[GroundingLine], Field(description="One a phrase, in their order.")]
    model: Model
    _overlays: tuple[bytes, ...] = PrivateAttr(())

    @classmethod
    def of(cls, groundings: Sequence[Grounding], model: str, overlays: Sequence[bytes] = ()) -> Groundings:
        """From those of a model. overlays: JPEGs to be shown beside."""
        found = cls(groundings=[_grounding_line(each) for each in groundings], model=model)
        found._overlays = tuple(overlays)
        return found

    @property
    def pictures(self) -> tuple[bytes, ...]:
        """JPEGs, which are no part of the structure."""
        return self._overlays


def _grounding_line(grounding: Grounding) -> GroundingLine:
    boxes = [
        BoxLine(
            left=round(box.left), top=round(box.top), right=round(box.right), bottom=round(box.bottom),
            score=_short(box.score),
        )
        for box in grounding.boxes
    ]  # fmt: skip
    return GroundingLine(
        phrase=grounding.phrase,
        probability=_short(grounding.probability),
        similarity=_short(grounding.similarity),
        peak=Point(x=int(grounding.peak[0]), y=int(grounding.peak[1])),
        boxes=boxes,
        width=grounding.size[0],
        height=grounding.size[1],
    )


class HitLine(BaseModel):
    """A photo that was found."""

    path: Annotated[str, Field(description="Its file, or the shard that it lies in.")]
    key: Annotated[str, Field(description="Its key in a shard, empty for a file.")]
    id: Annotated[str, Field(description="By which the other tools take it.")]
    caption: Annotated[str, Field(description="One a line; empty where it has none.")]
    taken: Annotated[str | None, Field(description="When, by the camera's clock.")]
    width: int
    height: int
    probability: Annotated[
        Probability | None,
        Field(description="That the words describe it; null where that was not looked at."),
    ]
    similarity: Annotated[float, Field(description="Cosine of its embedding and that of what was asked for.")]


class Hits(BaseModel):
    """Photos of the library."""

    hits: Annotated[list[HitLine], Field(description="The best first.")]

    @classmethod
    def of(cls, hits: Sequence[Hit]) -> Hits:
        """From those of a library."""
        return cls(hits=[_hit_line(hit) for hit in hits])


def _hit_line(hit: Hit) -> HitLine:
    place, facts = hit.record.place, hit.record.facts
    return HitLine(
        path=place.path,
        key=place.key,
        id=hit.record.id,
        caption=hit.record.caption,
        taken=None if facts.taken is None else facts.taken.isoformat(),
        width=facts.width,
        height=facts.height,
        probability=None if hit.probability is None else _short(hit.probability),
        similarity=_short(hit.similarity),
    )


def _answer_line(answer: Answer) -> AnswerLine:
    others = [Choice(text=text, probability=_short(probability)) for text, probability in answer.others]
    return AnswerLine(
        question=answer.question, answer=answer.text, probability=_short(answer.probability), others=others
    )


def _short(value: float) -> float:
    return round(value, _DIGITS)
