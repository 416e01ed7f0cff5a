"""pipeline("image-to-text") and pipeline("visual-question-answering") as transformers had them up to 4.57.

Knows what they take and return. Does not know models or arrays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from openblip.compat.arrays import refuse
from openblip.compat.models import BlipForConditionalGeneration, BlipForQuestionAnswering
from openblip.compat.processor import BlipProcessor
from openblip.errors import InputError, OptionError
from openblip.image import ImageSource, load_image
from openblip.pictures import as_list

_NEW_TOKENS = 256
_Model = TypeVar("_Model", BlipForConditionalGeneration, BlipForQuestionAnswering)


class ImageToTextPipeline:
    """Captions of pictures."""

    def __init__(self, model: BlipForConditionalGeneration, processor: BlipProcessor) -> None:
        self.model, self.processor = model, processor

    def __call__(
        self,
        inputs: ImageSource | Sequence[ImageSource],
        *,
        prompt: str | None = None,
        max_new_tokens: int | None = None,
        generate_kwargs: Mapping[str, Any] | None = None,
        batch_size: int = 1,
        **other: Any,
    ) -> list[Any]:
        """[{"generated_text": ...}] for a picture, and a list of these for a list; prompt: what captions start with."""
        refuse("pipeline", other)
        sources = as_list(inputs)
        results: list[list[dict[str, str]]] = []
        for start in range(0, len(sources), batch_size):
            images = [load_image(source) for source in sources[start : start + batch_size]]
            texts = None if prompt is None else [prompt] * len(images)
            arrays = self.processor(images, texts, return_tensors="np")
            room = self.model.positions - (1 if prompt is None else arrays["input_ids"].shape[1] - 1)
            ids = self.model.generate(**arrays, **_generate_arguments(max_new_tokens, generate_kwargs, room))
            captions = [{"generated_text": text} for text in self.processor.batch_decode(ids, skip_special_tokens=True)]
            each = len(captions) // len(images)
            results += [captions[place : place + each] for place in range(0, len(captions), each)]
        return results if isinstance(inputs, (list, tuple)) else results[0]


class VisualQuestionAnsweringPipeline:
    """Answers to questions about pictures."""

    def __init__(self, model: BlipForQuestionAnswering, processor: BlipProcessor) -> None:
        self.model, self.processor = model, processor

    def __call__(
        self,
        image: Any,
        question: str | Sequence[str] | None = None,
        *,
        top_k: int | None = None,
        padding: bool | str | None = None,
        truncation: bool | str | None = None,
        **other: Any,
    ) -> list[Any]:
        """[{"answer": ...}] for a picture and a question, and a list of these for many: of one with many of the other,
        or of all pictures for each question in turn. Also one {"image": ..., "question": ...}, or a list of them. top_k
        and padding have no effect."""
        refuse("pipeline", other)
        asked = _questions(image, question)
        arguments = _generate_arguments(None, None, self.model.positions - 1)
        results = []
        for source, text in asked:
            inputs = self.processor(load_image(source), text, return_tensors="np", truncation=truncation)
            answers = self.processor.batch_decode(self.model.generate(**inputs, **arguments), skip_special_tokens=True)
            results.append([{"answer": answer.strip()} for answer in answers])
        single = isinstance(image, Mapping) or (isinstance(question, str) and not isinstance(image, (list, tuple)))
        return results[0] if single else results


def pipeline(
    task: str | None = None,
    model: str | os.PathLike[str] | None = None,
    *,
    device: Any = None,
    torch_dtype: Any = None,
    dtype: Any = None,
    device_map: Any = None,
    use_fast: bool = True,
    **other: Any,
) -> ImageToTextPipeline | VisualQuestionAnsweringPipeline:
    """The pipeline of a task with a model by name or folder. device: -1 or "cpu", a number or "cuda" for a GPU; dtype,
    or torch_dtype: as in `from_pretrained`. Raises OptionError on another task."""
    refuse("pipeline", other)
    if model is None:
        raise OptionError("pipeline needs a model: give the name or folder of a BLIP checkpoint")
    if not isinstance(model, (str, os.PathLike)):
        raise OptionError(f"pipeline takes the name or folder of a model, not a {type(model).__name__}")
    place = "cpu" if device == -1 else device
    if task == "image-to-text":
        captioner = BlipForConditionalGeneration.from_pretrained(
            model, torch_dtype=torch_dtype, dtype=dtype, device_map=device_map
        )
        return ImageToTextPipeline(_moved(captioner, place), BlipProcessor.from_pretrained(model, use_fast=use_fast))
    if task == "visual-question-answering":
        answerer = BlipForQuestionAnswering.from_pretrained(
            model, torch_dtype=torch_dtype, dtype=dtype, device_map=device_map
        )
        return VisualQuestionAnsweringPipeline(
            _moved(answerer, place), BlipProcessor.from_pretrained(model, use_fast=use_fast)
        )
    raise OptionError(f"pipeline({task!r}) is not offered: give 'image-to-text' or 'visual-question-answering'")


def _moved(model: _Model, device: Any) -> _Model:
    return model if device is None else model.to(device)


def _generate_arguments(
    max_new_tokens: int | None, generate_kwargs: Mapping[str, Any] | None, room: int
) -> dict[str, Any]:
    """room: tokens that the model can still hold."""
    arguments = dict(generate_kwargs or {})
    if max_new_tokens is not None:
        if "max_new_tokens" in arguments:
            raise OptionError("max_new_tokens is given twice: give it as an argument or in generate_kwargs")
        arguments["max_new_tokens"] = max_new_tokens
    if not {"max_new_tokens", "max_length"} & set(arguments):
        arguments["max_new_tokens"] = min(_NEW_TOKENS, room)
    return arguments


def _questions(image: Any, question: str | Sequence[str] | None) -> list[tuple[Any, str]]:
    """Pictures and questions in the order of the answers."""
    if question is None:
        pairs = [image] if isinstance(image, Mapping) else list(image)
        if not all(isinstance(pair, Mapping) and {"image", "question"} <= pair.keys() for pair in pairs):
            raise InputError("give image and question, or {'image': ..., 'question': ...}")
        return [(pair["image"], pair["question"]) for pair in pairs]
    images = list(image) if isinstance(image, (list, tuple)) else [image]
    questions = [question] if isinstance(question, str) else list(question)
    return [(source, text) for text in questions for source in images]
