"""What OpenAI's clients send and get, as far as BLIP can do it. Knows pydantic and the fields' meaning, no model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from openblip.serve.schemas import Picture, TimingResult

_PICTURE: TypeAdapter[bytes | str] = TypeAdapter(Picture)


class _Request(BaseModel):
    """Fields that are not named here are ignored, as OpenAI's clients send new ones with every version."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field("", description="One of /v1/models; the first where it is left out.")


class TextPart(BaseModel):
    """Words of a message."""

    type: Literal["text"]
    text: str


class ImageURL(BaseModel):
    """A picture. Its `detail` is ignored: a model sees each at its one size."""

    url: Picture


class ImagePart(BaseModel):
    """A picture in a message."""

    type: Literal["image_url"]
    image_url: ImageURL


def _parts(content: object) -> object:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [] if content is None else content


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(BaseModel):
    """One message; those of the roles system and developer are not read."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[list[Part], BeforeValidator(_parts, json_schema_input_type=str | list[Part] | None)] = []

    @property
    def text(self) -> str:
        """Its words."""
        return " ".join(part.text.strip() for part in self.content if isinstance(part, TextPart)).strip()

    @property
    def pictures(self) -> list[bytes | str]:
        """The files of its pictures, or their addresses."""
        return [part.image_url.url for part in self.content if isinstance(part, ImagePart)]


class StreamOptions(BaseModel):
    """What a stream tells besides the text."""

    include_usage: bool = False


class ChatRequest(_Request):
    """A picture, and what is wanted of it. docs/serving.md tells what each field does, and which are refused."""

    messages: list[Message] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1)
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    stop: str | list[str] | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None
    audio: Any = None
    logit_bias: dict[str, float] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    web_search_options: Any = None


def _inputs(value: object) -> object:
    """Texts as they are, data URLs as the bytes of their pictures."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError("give a text, a data URL of a picture, or a list of them: tokens are not taken")
    return [_PICTURE.validate_python(item) if item[:5].lower() == "data:" else item for item in items]


class EmbeddingsRequest(_Request):
    """Texts, and pictures as data URLs, whose vectors are wanted."""

    input: Annotated[
        list[str | bytes], BeforeValidator(_inputs, json_schema_input_type=str | list[str]), Field(min_length=1)
    ]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


class TokenLogprob(BaseModel):
    """One generated token, as its WordPiece string."""

    token: str
    bytes: list[int]
    logprob: float
    top_logprobs: list[Any] = []


class Logprobs(BaseModel):
    """Of a caption's tokens, [SEP] included."""

    content: list[TokenLogprob]


class ReplyMessage(BaseModel):
    """The caption or answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """One of the texts."""

    index: int
    message: ReplyMessage
    logprobs: Logprobs | None = None
    finish_reason: Literal["stop", "length"]


class Usage(BaseModel):
    """prompt_tokens: of the picture, [CLS] included, and of the text that was read with it."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Extra(BaseModel):
    """What OpenAI's answer has no place for. task: what the message was taken for."""

    task: Literal["caption", "answer"]
    cached: bool
    timing: TimingResult


class ChatCompletion(BaseModel):
    """The answer. system_fingerprint: the revision of the model."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str
    openblip: Extra


class Vector(BaseModel):
    """A unit vector; in base64 as little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(BaseModel):
    """Tokens of texts and pictures."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """One vector an input, in order. system_fingerprint: the revision of the model."""

    object: Literal["list"] = "list"
    data: list[Vector]
    model: str
    system_fingerprint: str
    usage: EmbeddingsUsage


class Model(BaseModel):
    """A model that is served. created: when the service started; loaded: whether it is in memory; tasks and revision:
    of one that is."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["openblip"] = "openblip"
    loaded: bool
    tasks: list[str] = []
    revision: str = ""


class Models(BaseModel):
    """All of them; the first is used where none is named."""

    object: Literal["list"] = "list"
    data: list[Model]


class ErrorBody(BaseModel):
    """param: the field that is wrong, where it is one."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorResponse(BaseModel):
    """An error as OpenAI's clients read it."""

    error: ErrorBody
