"""What a model is worth on pictures that it does not learn from: CIDEr-D of its captions, the accuracy of its answers,
or its recall. Knows pictures and a torch model, no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from openblip.bulk.shards import Sample
from openblip.datasets.examples import Picture, Question
from openblip.engines.torch.engine import TorchEngine
from openblip.engines.torch.model import BlipModel
from openblip.errors import DataError
from openblip.evaluate import evaluate_retrieval
from openblip.metrics import answer_accuracy, caption_scores
from openblip.pipeline import Blip
from openblip.text import Tokenizer
from openblip.types import GenerateOptions

METRICS = {"caption": "CIDEr", "vqa": "accuracy", "retrieval": "R@1"}


@dataclass(frozen=True)
class Shown:
    """What a model says about a picture, and what was said about it."""

    picture: str
    said: str
    expected: str

    def line(self) -> str:
        """For a person."""
        return f"  {self.picture}: {self.said}  (expected: {self.expected})"


@dataclass(frozen=True)
class Score:
    """metric: its name; value: higher is better; shown: some of what the model said."""

    metric: str
    value: float
    shown: tuple[Shown, ...] = ()


class Judge:
    """Measures models for one kind of fine-tuning. prompt: what captions start with. samples: how many are shown."""

    def __init__(
        self, task: str, tokenizer: Tokenizer, prompt: str = "", *, samples: int = 3, rerank: int = 16, tokens: int = 20
    ) -> None:
        self.task, self._tokenizer, self._prompt, self._samples, self._rerank = task, tokenizer, prompt, samples, rerank
        prompted = len(tokenizer.caption_prompt(prompt)) - 1
        self._options = replace(GenerateOptions(), max_length=tokens + prompted, min_length=5 + prompted)

    def score(self, model: BlipModel, pictures: Sequence[Picture]) -> Score:
        """Of a float32 model in evaluation mode, on pictures with the texts of the task."""
        blip = self._blip(model)
        if self.task == "retrieval":
            samples = [Sample(each.name, each.content(), each.captions, {}) for each in pictures]
            found = evaluate_retrieval(blip, samples, rerank=min(self._rerank, len(samples)))
            recalls = found.itm or found.itc
            return Score("R@1", (recalls.image_to_text_r1 + recalls.text_to_image_r1) / 2)
        if self.task == "vqa":
            return self._answers(blip, pictures)
        texts = self._captions(blip, pictures)
        scores = caption_scores(texts, [picture.captions for picture in pictures])
        return Score("CIDEr", scores.cider, self._shown(pictures, texts))

    def show(self, model: BlipModel, pictures: Sequence[Picture]) -> tuple[Shown, ...]:
        """Some of what the model says, unmeasured."""
        pictures, blip = pictures[: self._samples], self._blip(model)
        if self.task == "retrieval" or not pictures:
            return ()
        if self.task == "vqa":
            return self._answers(blip, pictures).shown
        return self._shown(pictures, self._captions(blip, pictures))

    def _blip(self, model: BlipModel) -> Blip:
        return Blip(TorchEngine.around(model), self._tokenizer, "the model in training")

    def _captions(self, blip: Blip, pictures: Sequence[Picture]) -> list[str]:
        texts = []
        outcomes = blip.caption_each((picture.content() for picture in pictures), self._prompt, self._options)
        for picture, outcome in zip(pictures, outcomes, strict=True):
            if outcome.error is not None:
                raise DataError(f"{picture.name}: {outcome.error}") from outcome.error
            texts.append(outcome.captions[0].text)
        return texts

    def _shown(self, pictures: Sequence[Picture], texts: Sequence[str]) -> tuple[Shown, ...]:
        chosen = list(zip(pictures, texts, strict=True))[: self._samples]
        return tuple(Shown(picture.short_name, text, picture.captions[0]) for picture, text in chosen)

    def _answers(self, blip: Blip, pictures: Sequence[Picture]) -> Score:
        marks, shown = list[float](), list[Shown]()
        for picture in pictures:
            answers = blip.answer(picture.content(), [question.text for question in picture.questions])
            for question, answer in zip(picture.questions, answers, strict=True):
                marks.append(accuracy(answer.text, question))
                if len(shown) < self._samples:
                    said = f"{question.text} {answer.text}"
                    shown.append(Shown(picture.short_name, said, ", ".join(text for text, _ in question.answers)))
        return Score("accuracy", sum(marks) / len(marks), tuple(shown))


def accuracy(answer: str, question: Question) -> float:
    """How right an answer is, in [0, 1], as `openblip eval vqa` has it."""
    return answer_accuracy(answer, question.given)
