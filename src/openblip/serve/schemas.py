"""What clients send and get. The options of a search are those of Python and the command line, checked by the same
dataclass. Knows pydantic, no model."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from openblip.errors import InputError
from openblip.serve.problems import Problem
from openblip.tasks.inquiries import Inquiry
from openblip.types import GenerateOptions, GroundOptions

_GROUND = GroundOptions()

_DATA_URL = "data:"


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value
    if text[: len(_DATA_URL)].lower() == _DATA_URL:
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise ValueError("a data URL must be data:image/...;base64,...")
    elif text[:8].lower().startswith(("http://", "https://")):
        return value
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"a picture must be base64, plain or in a data URL ({error})") from error


Picture = Annotated[
    bytes | str,
    BeforeValidator(_decoded),
    WithJsonSchema({"type": "string", "format": "base64", "description": "Plain, in a data URL, or an https address."}),
]
"""The bytes of a file, in JSON as base64 or a data URL; or an address, where the service fetches those."""

Words = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"\S"})]
"""A text that says something; one that does not is refused with the inquiry."""


class PictureRequest(BaseModel):
    """What every request has. Of its lists only the first fault is noted: each note takes a kilobyte."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={})

    images: list[Picture] = Field(
        min_length=1,
        fail_fast=True,
        description="Pictures as base64, data URLs, or https addresses where the service fetches those.",
    )
    model: str = Field("", description="One of the models that are served; the first where it is left out.")

    def inquiry(self) -> Inquiry:
        """What is asked of each picture."""
        raise NotImplementedError


def _with_ranges(schema: dict[str, Any]) -> None:
    for name, (low, high) in GenerateOptions.RANGES.items():
        schema["properties"][name] |= {"minimum": low, "maximum": high}


class _Options(BaseModel):
    """Fields of GenerateOptions that are given; the others are the defaults of the task. Strict: in a form too they are
    JSON."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=_with_ranges)

    num_beams: int | None = None
    max_length: int | None = None
    min_length: int | None = None
    length_penalty: float | None = None
    repetition_penalty: float | None = None
    sample: bool | None = None
    top_p: float | None = None
    temperature: float | None = None
    seed: int | None = None
    num_return: int | None = None
    num_beam_groups: int | None = None
    diversity_penalty: float | None = None
    early_stopping: bool | None = None

    def over(self, defaults: GenerateOptions) -> GenerateOptions:
        """The options. Raises OptionError on a value outside its range."""
        return replace(defaults, **self.model_dump(exclude_none=True))


class CaptionRequest(PictureRequest):
    """Captions of pictures."""

    prompt: str = Field("", description="What the captions start with.")
    options: _Options = _Options()
    stream: bool = Field(False, description="Send the caption of one picture as it grows, as server-sent events.")

    def inquiry(self) -> Inquiry:
        """A caption."""
        return Inquiry(caption=self.generate_options(), prompt=self.prompt)

    def generate_options(self) -> GenerateOptions:
        """Greedy where it is streamed and nothing else is said. Raises OptionError."""
        return self.options.over(GenerateOptions(num_beams=1) if self.stream else GenerateOptions())


class AnswerRequest(PictureRequest):
    """Answers to questions about pictures."""

    questions: list[Words] = Field(min_length=1, fail_fast=True, description="Each is asked of each picture.")
    answers: list[str] | None = Field(
        None, min_length=1, fail_fast=True, description="The only answers allowed, where they are given."
    )
    options: _Options = _Options()

    def inquiry(self) -> Inquiry:
        """The questions."""
        answers = None if self.answers is None else tuple(self.answers)
        return Inquiry(
            questions=tuple(self.questions), answering=self.options.over(GenerateOptions.for_answers()), answers=answers
        )


class MatchRequest(PictureRequest):
    """How well texts describe pictures."""

    texts: list[Words] = Field(min_length=1, fail_fast=True, description="Each is held against each picture.")

    def inquiry(self) -> Inquiry:
        """The texts."""
        return Inquiry(texts=tuple(self.texts))


class EmbedRequest(PictureRequest):
    """Embeddings of pictures."""

    def inquiry(self) -> Inquiry:
        """The vector."""
        return Inquiry(embed=True)


class _Grounding(BaseModel):
    """How words are looked for."""

    phrases: list[Words] = Field(
        [], fail_fast=True, description="To be looked for; without any, the noun phrases of the picture's caption."
    )
    threshold: float = Field(
        _GROUND.threshold,
        description="How hot a region is, where the hottest point is 1.",
        json_schema_extra=dict(zip(("minimum", "maximum"), GroundOptions.RANGES["threshold"], strict=True)),
    )
    windows: bool | None = Field(None, description="Whether windows of the picture are looked at; null: by the model.")
    overlay: bool = Field(False, description="Draw heat, boxes and peak over the picture.")


class GroundRequest(_Grounding, PictureRequest):
    """Where in pictures words are."""

    def inquiry(self) -> Inquiry:
        """The phrases. Raises OptionError."""
        return Inquiry(
            grounding=GroundOptions(self.windows, self.threshold), phrases=tuple(self.phrases), overlays=self.overlay
        )


class AnalyzeRequest(_Grounding, PictureRequest):
    """Any mix of tasks about pictures, each of which is encoded once."""

    caption: bool = False
    prompt: str = ""
    options: _Options = Field(_Options(), description="Of the caption.")
    questions: list[Words] = Field([], fail_fast=True)
    answers: list[str] | None = Field(None, min_length=1, fail_fast=True)
    texts: list[Words] = Field([], fail_fast=True)
    embed: bool = False
    ground: bool = Field(False, description="Say where the phrases are, with threshold, windows and overlay.")

    def inquiry(self) -> Inquiry:
        """All of it. Raises InputError where something is given for a task that is not asked."""
        if not self.caption and (self.prompt or self.options != _Options()):
            raise InputError("prompt and options are for captions: give caption=true too")
        if self.answers is not None and not self.questions:
            raise InputError("answers go with questions: give questions too")
        grounding = GroundOptions(self.windows, self.threshold)
        if not self.ground and (self.phrases or self.overlay or grounding != _GROUND):
            raise InputError("phrases, threshold, windows and overlay are for grounding: give ground=true too")
        return Inquiry(
            caption=self.options.over(GenerateOptions()) if self.caption else None,
            prompt=self.prompt,
            questions=tuple(self.questions),
            answers=None if self.answers is None else tuple(self.answers),
            texts=tuple(self.texts),
            embed=self.embed,
            grounding=grounding if self.ground else None,
            phrases=tuple(self.phrases),
            overlays=self.overlay,
        )


class CaptionResult(BaseModel):
    """One generated text."""

    text: str
    log_probability: float
    probability: float
    tokens: list[str]
    token_probabilities: list[float]
    model: str


class AnswerResult(BaseModel):
    """The answer to one question."""

    question: str
    text: str
    log_probability: float
    probability: float
    others: list[tuple[str, float]]
    model: str


class MatchResult(BaseModel):
    """How well one text describes the picture: ITM probability and ITC cosine."""

    text: str
    probability: float
    similarity: float
    model: str


class EmbeddingResult(BaseModel):
    """A unit vector."""

    vector: list[float]
    model: str


class BoxResult(BaseModel):
    """A rectangle in pixels of the picture as it is shown, and the highest heat in it."""

    left: float
    top: float
    right: float
    bottom: float
    score: float


class GroundingResult(BaseModel):
    """Where one phrase is: hottest point (x, y) and boxes in pixels of the picture as it is shown, `size` wide and
    high. heatmap: over the whole picture, overlay: the picture with all of it, each a PNG in base64."""

    phrase: str
    probability: float
    similarity: float
    peak: tuple[float, float]
    boxes: list[BoxResult]
    size: tuple[int, int]
    heatmap: str
    overlay: str | None = None
    model: str


class TimingResult(BaseModel):
    """Seconds: waiting and reading of the picture, encoding and search of the whole batch. All 0 where the answer was
    there already."""

    queue_s: float = 0.0
    decode_s: float = 0.0
    preprocess_s: float = 0.0
    encode_s: float = 0.0
    search_s: float = 0.0


class PictureResult(BaseModel):
    """All that was asked about one picture, or why it could not be used."""

    captions: list[CaptionResult] = []
    answers: list[AnswerResult] = []
    matches: list[MatchResult] = []
    embedding: EmbeddingResult | None = None
    groundings: list[GroundingResult] = []
    cached: bool = False
    timing: TimingResult = TimingResult()
    error: Problem | None = None


class Response(BaseModel):
    """One result a picture, in order. model: its name and revision."""

    model: str
    revision: str
    results: list[PictureResult]
