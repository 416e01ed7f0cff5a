"""Sizes of a model, and the one table of its tensors.

`ModelConfig` is what a checkpoint's config.json holds. `tensor_shapes` names every tensor of a model with its shape;
the loader checks against it, the torch model is built to it and the OpenVINO graphs read by it. Knows no framework.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from math import prod
from typing import Any, Literal, get_args

from openblip.errors import CheckpointError, ModelError

Task = Literal["caption", "match", "embed", "answer"]
"""What a checkpoint can do. "caption": the image-grounded decoder. "match": the image-grounded encoder with the ITM
head. "embed": the unimodal encoder with the ITC head. "answer": the image-grounded encoder reads the question, and a
decoder of its own looks at what it made of it (BLIP paper, section 4.3)."""

_LARGE = 2**25
"""Parameters."""

TASKS: tuple[Task, ...] = get_args(Task)
PRETRAINED: tuple[Task, ...] = ("caption", "match", "embed")
Mode = Literal["encoder", "decoder"]

SETS: dict[str, dict[Task, str]] = {
    "base": {
        "caption": "Salesforce/blip-image-captioning-base",
        "answer": "Salesforce/blip-vqa-base",
        "match": "Salesforce/blip-itm-base-coco",
        "embed": "Salesforce/blip-itm-base-coco",
    },
    "large": {
        "caption": "Salesforce/blip-image-captioning-large",
        "answer": "Salesforce/blip-vqa-capfilt-large",
        "match": "Salesforce/blip-itm-large-coco",
        "embed": "Salesforce/blip-itm-large-coco",
    },
}
"""Published checkpoints under one name, one for each task. The large set answers with a ViT-B: no larger one was
published for questions."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
INCEPTION_MEAN = (0.5, 0.5, 0.5)
INCEPTION_STD = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The image encoder: "vit" (pre-norm ViT as published) or "mobilenet_v2" (its feature map under the same blocks).

    image_size: side of the square input in pixels. grid: tokens a side; the [CLS] token comes on top.
    """

    kind: Literal["vit", "mobilenet_v2"] = "vit"
    image_size: int = 384
    patch_size: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    layer_norm_eps: float = 1e-6
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    @property
    def grid(self) -> int:
        """Image tokens along one side."""
        return self.image_size // (self.patch_size if self.kind == "vit" else 32)

    @property
    def tokens(self) -> int:
        """Image tokens in all, [CLS] included."""
        return self.grid**2 + 1


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The text transformer (BERT shape, post-norm). [DEC] starts a caption, [ENC] an image-grounded text."""

    vocab_size: int = 30524
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    max_positions: int = 512
    layer_norm_eps: float = 1e-12
    pad_id: int = 0
    cls_id: int = 101
    sep_id: int = 102
    dec_id: int = 30522
    enc_id: int = 30523


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes of a whole model. projection: width of the shared embedding space (256 in the paper). tasks: what its
    tensors are there for; a pre-trained BLIP does all, a fine-tuned one its own. answer_layers: of the decoder that
    answers; 0 for as many as the text transformer has, as published."""

    vision: VisionConfig = field(default_factory=VisionConfig)
    text: TextConfig = field(default_factory=TextConfig)
    projection: int = 256
    tasks: tuple[Task, ...] = PRETRAINED
    answer_layers: int = 0

    @property
    def answer_text(self) -> TextConfig:
        """Sizes of the decoder that answers."""
        return replace(self.text, layers=self.answer_layers or self.text.layers)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Which self-attentions the text transformer has."""
        encoder: tuple[Mode, ...] = ("encoder",) if {"match", "embed", "answer"} & set(self.tasks) else ()
        decoder: tuple[Mode, ...] = ("decoder",) if "caption" in self.tasks else ()
        return (*encoder, *decoder)

    def require(self, task: Task) -> None:
        """Raise ModelError where the model cannot do this task."""
        if task not in self.tasks:
            raise ModelError(
                f"this model has no weights to {task}, only to {', '.join(self.tasks)}: name a checkpoint that can "
                f"{task} as the model, or the set base"
            )

    @property
    def grounded(self) -> bool:
        """Whether the text transformer looks at pictures."""
        return bool({"caption", "match", "answer"} & set(self.tasks))

    def to_dict(self) -> dict[str, Any]:
        """What config.json holds."""
        return {"model_type": "openblip", **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`. Raises CheckpointError on missing or unknown keys."""
        try:
            vision = dict(values["vision"])
            for name in ("mean", "std"):
                vision[name] = tuple(vision[name])
            extra = set(values) - {"model_type", "vision", "text", "projection", "tasks", "answer_layers"}
            if extra:
                raise TypeError(f"unknown keys {sorted(extra)}")
            tasks = tuple(values.get("tasks", PRETRAINED))
            if unknown := [task for task in tasks if task not in TASKS]:
                raise ValueError(f"unknown tasks {unknown}")
            text, layers = TextConfig(**values["text"]), int(values.get("answer_layers", 0))
            return cls(VisionConfig(**vision), text, int(values["projection"]), tasks, layers)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"config.json is not an openblip config: {error}") from error


@dataclass(frozen=True, slots=True)
class ConvLayer:
    """One convolution of MobileNetV2, batch norm folded in; see `mobilenet_v2_layers`."""

    index: int
    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int
    relu6: bool
    residual: bool = False
    starts_block: bool = False


def mobilenet_v2_layers() -> tuple[ConvLayer, ...]:
    """The 52 convolutions of MobileNetV2 1.0 without its classifier (Sandler et al. 2018, table 2).

    Within a block the order is expand (absent in the first), depthwise, project; `residual` on the projection says that
    the block's input is added; `starts_block` marks the layer whose input that is. TensorFlow padding: at stride 2 the
    extra row and column go to the bottom and the right.
    """
    layers = [ConvLayer(0, 3, 32, 3, 2, 1, True)]
    width = 32
    for expansion, outputs, repeats, first_stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
    ):  # fmt: skip
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            hidden = width * expansion
            if expansion != 1:
                layers.append(ConvLayer(len(layers), width, hidden, 1, 1, 1, True, starts_block=True))
            layers.append(ConvLayer(len(layers), hidden, hidden, 3, stride, hidden, True, starts_block=expansion == 1))
            layers.append(
                ConvLayer(len(layers), hidden, outputs, 1, 1, 1, False, residual=stride == 1 and width == outputs)
            )
            width = outputs
    layers.append(ConvLayer(len(layers), width, 1280, 1, 1, 1, True))
    return tuple(layers)


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a model by name, those that none of its tasks needs left out. Linear weights are [out, in],
    convolutions [out, in / groups, k, k]."""
    vision, text, shapes = config.vision, config.text, _Shapes()
    _vision_shapes(shapes, vision)
    _text_shapes(shapes, "text", text, config.modes, vision.width if config.grounded else 0)
    if "caption" in config.tasks:
        _head_shapes(shapes, "lm", text)
    if "answer" in config.tasks:
        _text_shapes(shapes, "answer", config.answer_text, ("decoder",), text.width)
        _head_shapes(shapes, "answer_lm", text)
    if "embed" in config.tasks:
        shapes.linear("itc.image", vision.width, config.projection)
        shapes.linear("itc.text", text.width, config.projection)
        shapes["itc.temperature"] = ()
    if "match" in config.tasks:
        shapes.linear("itm", text.width, 2)
    return shapes


def parameters(config: ModelConfig) -> int:
    """How many numbers all tensors of a model hold."""
    return sum(prod(shape) for shape in tensor_shapes(config).values())


def is_large(config: ModelConfig) -> bool:
    """Whether a second copy of its weights in memory is not to be borne."""
    return parameters(config) > _LARGE


class _Shapes(dict[str, tuple[int, ...]]):
    def linear(self, name: str, inputs: int, outputs: int) -> None:
        self[f"{name}.weight"], self[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def norm(self, name: str, width: int) -> None:
        self[f"{name}.weight"], self[f"{name}.bias"] = (width,), (width,)


def _vision_shapes(shapes: _Shapes, vision: VisionConfig) -> None:
    if vision.kind == "vit":
        shapes["vision.patch.weight"] = (vision.width, 3, vision.patch_size, vision.patch_size)
        shapes["vision.patch.bias"] = (vision.width,)
    else:
        for layer in mobilenet_v2_layers():
            name = f"vision.backbone.{layer.index}"
            shapes[f"{name}.weight"] = (layer.outputs, layer.inputs // layer.groups, layer.kernel, layer.kernel)
            shapes[f"{name}.bias"] = (layer.outputs,)
        shapes.linear("vision.bridge", 1280, vision.width)
    shapes["vision.class_token"] = (vision.width,)
    shapes["vision.positions"] = (vision.tokens, vision.width)
    for index in range(vision.layers):
        block = f"vision.blocks.{index}"
        shapes.norm(f"{block}.norm1", vision.width)
        shapes.linear(f"{block}.attention.qkv", vision.width, 3 * vision.width)
        shapes.linear(f"{block}.attention.out", vision.width, vision.width)
        shapes.norm(f"{block}.norm2", vision.width)
        shapes.linear(f"{block}.mlp.up", vision.width, vision.mlp_width)
        shapes.linear(f"{block}.mlp.down", vision.mlp_width, vision.width)
    shapes.norm("vision.norm", vision.width)


def _text_shapes(shapes: _Shapes, prefix: str, text: TextConfig, modes: tuple[Mode, ...], looked_at: int) -> None:
    """looked_at: width of the states that the cross-attention reads; 0 for none."""
    shapes[f"{prefix}.tokens.weight"] = (text.vocab_size, text.width)
    shapes[f"{prefix}.positions.weight"] = (text.max_positions, text.width)
    shapes.norm(f"{prefix}.norm", text.width)
    for index in range(text.layers):
        block = f"{prefix}.blocks.{index}"
        for mode in modes:
            shapes.linear(f"{block}.{mode}_attention.qkv", text.width, 3 * text.width)
            shapes.linear(f"{block}.{mode}_attention.out", text.width, text.width)
            shapes.norm(f"{block}.{mode}_attention.norm", text.width)
        if looked_at:
            shapes.linear(f"{block}.cross_attention.query", text.width, text.width)
            shapes.linear(f"{block}.cross_attention.key_value", looked_at, 2 * text.width)
            shapes.linear(f"{block}.cross_attention.out", text.width, text.width)
            shapes.norm(f"{block}.cross_attention.norm", text.width)
        shapes.linear(f"{block}.mlp.up", text.width, text.mlp_width)
        shapes.linear(f"{block}.mlp.down", text.mlp_width, text.width)
        shapes.norm(f"{block}.mlp.norm", text.width)


def _head_shapes(shapes: _Shapes, name: str, text: TextConfig) -> None:
    shapes.linear(f"{name}.dense", text.width, text.width)
    shapes.norm(f"{name}.norm", text.width)
    shapes[f"{name}.bias"] = (text.vocab_size,)
