"""A conversation -> the task that BLIP can do for it. Knows OpenAI's fields and BLIP's options, no HTTP, no
engine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openblip.parts import Part
from openblip.serve.openai.schemas import ChatRequest, Message
from openblip.serve.problems import ProblemError
from openblip.serve.schemas import AnswerRequest, CaptionRequest
from openblip.types import GenerateOptions

_LEAST_TEMPERATURE = 1e-3  # below it, and with a top_p below this, only the likeliest word is left
_ROOM = 10  # tokens that a caption gets after a long prompt where nobody says how many
_INSTRUCTION = re.compile(
    r"(?:(?:please|kindly|(?:can|could|will|would) you)[\s,]+)*"
    r"(?:(?:describe|caption)\b|(?:add|create|generate|give|make|produce|provide|suggest|write)\b.*?"
    r"\b(?:captions?|descriptions?|alt[\s-]text)\b)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a conversation comes down to. text: the last words of the user; prefix: what the answer shall begin with."""

    picture: bytes | str
    text: str
    prefix: str

    @property
    def is_question(self) -> bool:
        """Whether the words are a question. They are an instruction, whose answer is a caption, where there are none or
        they begin with one: to describe or caption, or to write, give or make a caption, description or alt text."""
        return bool(self.text) and _INSTRUCTION.match(self.text) is None


def unsupported(param: str, why: str) -> ProblemError:
    """422 for a field that asks for what BLIP cannot do."""
    return ProblemError(422, "unsupported", f"{param}: {why}")


def check_supported(body: ChatRequest, max_texts: int) -> None:
    """Raise ProblemError on what would be ignored to the client's harm."""
    refused: tuple[tuple[str, bool, str], ...] = (
        ("tools", bool(body.tools), "BLIP calls no tools: leave it out"),
        ("functions", bool(body.functions), "BLIP calls no functions: leave it out"),
        ("response_format", _kind(body.response_format) != "text", "BLIP writes plain text: leave it out"),
        ("modalities", (body.modalities or ["text"]) != ["text"], "BLIP writes text: leave it out"),
        ("audio", body.audio is not None, "BLIP writes text: leave it out"),
        ("web_search_options", body.web_search_options is not None, "BLIP searches nothing: leave it out"),
        ("stop", bool(body.stop), "BLIP's texts end by themselves: leave it out, or set max_completion_tokens"),
        ("logit_bias", bool(body.logit_bias), "it is not applied: leave it out"),
        ("frequency_penalty", bool(body.frequency_penalty), "it is not applied: leave it out"),
        ("presence_penalty", bool(body.presence_penalty), "it is not applied: leave it out"),
        ("top_logprobs", bool(body.top_logprobs), "only the chosen tokens' are kept: leave it out"),
        ("n", (body.n or 1) > max_texts, f"at most {max_texts} texts a request: ask for fewer"),
        ("n", (body.n or 1) > 1 and body.stream, "a stream is of one text: leave out n or stream"),
    )
    for param, is_refused, why in refused:
        if is_refused:
            raise unsupported(param, why)


def _kind(response_format: dict[str, Any] | None) -> str:
    return "text" if response_format is None else str(response_format.get("type"))


def asked(messages: Sequence[Message]) -> Asked:
    """The last picture, the last words of the user, and those of the assistant where they end the conversation.

    BLIP remembers nothing: what was said before is not read. Raises ProblemError where there is no picture, or several
    in the message of the last one, or where tools speak.
    """
    if any(message.role in ("tool", "function") for message in messages):
        raise unsupported("messages", "BLIP calls no tools, so none can answer: leave out their messages")
    users = [message for message in messages if message.role == "user"]
    pictures = next((message.pictures for message in reversed(users) if message.pictures), [])
    if not pictures:
        raise unsupported("messages", "there is no picture: BLIP talks about one, so send an image_url part")
    if len(pictures) > 1:
        raise unsupported("messages", f"{len(pictures)} pictures in a message: BLIP looks at one, so send them apart")
    prefix = messages[-1].text if messages[-1].role == "assistant" else ""
    return Asked(pictures[0], next((message.text for message in reversed(users) if message.text), ""), prefix)


def as_task(body: ChatRequest, wanted: Asked, part: Part, longest: int) -> CaptionRequest | AnswerRequest:
    """The request that does it. part: the checkpoint of its task; longest: the service's bound of a text in tokens.
    Raises ProblemError, OptionError or TextError."""
    longest = min(longest, part.config.text.max_positions)
    most = body.max_completion_tokens or body.max_tokens
    if wanted.is_question:
        if wanted.prefix:
            raise unsupported("messages", "an answer to a question has no given beginning: end with the user's message")
        if (body.n or 1) > 1:
            raise unsupported("n", "a question has one answer: leave it out")
        if body.logprobs:
            raise unsupported("logprobs", "the tokens of captions alone have them: leave it out")
        length = 1 + most if most else GenerateOptions.for_answers().max_length
        options = _options(body, min(length, longest), GenerateOptions.for_answers())
        return AnswerRequest.model_validate(
            {"images": [wanted.picture], "model": body.model, "questions": [wanted.text], "options": options}
        )
    started, usual = len(part.tokenizer.caption_prompt(wanted.prefix)), GenerateOptions().max_length
    length = started + most if most else max(usual, started + _ROOM)
    return CaptionRequest.model_validate(
        {
            "images": [wanted.picture],
            "model": body.model,
            "prompt": wanted.prefix,
            "stream": body.stream,
            "options": _options(body, min(length, longest), GenerateOptions()),
        }
    )


def _options(body: ChatRequest, length: int, defaults: GenerateOptions) -> dict[str, Any]:
    """Those that differ from the task's. A temperature or a top_p that leaves a choice asks for a drawn text; else the
    search finds it, with as many beams as texts are wanted."""
    texts = body.n or 1
    given: dict[str, Any] = {"max_length": length, "min_length": min(defaults.min_length, length)}
    given = {name: value for name, value in given.items() if value != getattr(defaults, name)}
    temperature = 1.0 if body.temperature is None else body.temperature
    top_p = 1.0 if body.top_p is None else body.top_p
    is_drawn = body.temperature is not None or body.top_p is not None
    if is_drawn and min(temperature, top_p) >= _LEAST_TEMPERATURE:
        drawn = {"sample": True, "num_beams": 1, "temperature": temperature, "top_p": top_p, "num_return": texts}
        return given | drawn | {"seed": (body.seed or 0) % 2**63}
    if texts > 1:
        given |= {"num_return": texts, "num_beams": max(defaults.num_beams, texts)}
    return given
