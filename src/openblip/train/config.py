"""The typed settings of a pre-training run, read from one TOML file. Knows no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from openblip.config import PRETRAINED, ModelConfig, TextConfig, VisionConfig, mobilenet_v2_layers
from openblip.errors import OptionError
from openblip.train.settings import MANY, build, read_toml, table, within
from openblip.train.settings import differences as differences

BACKBONE_STRIDE = 32  # pixels a token of MobileNetV2's map


@dataclass(frozen=True)
class DataConfig:
    """What is trained on.

    shards: WebDataset tars (globs allowed), `KEY.jpg` beside `KEY.json` with "captions".
    text: files of captions without pictures (JSON lines with "captions"), for the vocabulary and the text warm-up.
    vocabulary: an existing vocab.txt; empty: one of at most vocabulary_size entries is learned from the captions.
    cached_views: 0 augments every picture anew each epoch; n > 0 keeps n augmented views of each picture as the output
        of the backbone's frozen layers, computed when first needed: on a CPU these layers cost most of a step.
    canvas: side in pixels of the cached views, at least the model's input size; random windows of that size are taken
        from them.
    crop_area: smallest share of the picture that a random crop keeps. colour_jitter: largest relative change.
    """

    shards: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    vocabulary: str = ""
    vocabulary_size: int = 6000
    cached_views: int = 0
    canvas: int = 0
    crop_area: float = 0.5
    colour_jitter: float = 0.3
    max_text_tokens: int = 30
    workers: int = 0

    def __post_init__(self) -> None:
        limits = {
            "vocabulary_size": (16, MANY), "cached_views": (0, 1000), "canvas": (0, 4096), "crop_area": (0.01, 1.0),
            "colour_jitter": (0.0, 1.0), "max_text_tokens": (3, 512), "workers": (0, 1024),
        }  # fmt: skip
        within(self, "data.", limits)
        if self.canvas % BACKBONE_STRIDE:
            raise OptionError(f"data.canvas = {self.canvas} is not a multiple of {BACKBONE_STRIDE}: round it")


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW with warm-up and cosine decay to final_share of the peak.

    encoder_from_decoder: before the first picture the encoder's self-attention becomes a copy of the decoder's, and the
        contrastive and matching heads are drawn anew: for a start, or a text warm-up, that taught the decoder alone.
    text_warm_up_epochs: passes of the decoder over all captions as plain text before the first picture.
    backbone_rate: the convolutional backbone's share of the learning rate. frozen_layers: its first layers stay as they
    were given. accumulate: batches a step. token_dropout: share of its image tokens that a picture goes without.
    """

    epochs: int = 20
    batch: int = 64
    accumulate: int = 1
    learning_rate: float = 3e-4
    backbone_rate: float = 0.1
    frozen_layers: int = 0
    final_share: float = 0.0
    warm_up_steps: int = 500
    encoder_from_decoder: bool = False
    text_warm_up_epochs: int = 0
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    dropout: float = 0.1
    drop_path: float = 0.0
    token_dropout: float = 0.0

    def __post_init__(self) -> None:
        limits = {
            "epochs": (1, MANY), "batch": (1, MANY), "accumulate": (1, MANY), "learning_rate": (0.0, 10.0),
            "backbone_rate": (0.0, 100.0), "frozen_layers": (0, 52), "final_share": (0.0, 1.0),
            "warm_up_steps": (0, MANY), "text_warm_up_epochs": (0, MANY), "weight_decay": (0.0, 10.0),
            "betas": (0.0, 0.99999), "clip_norm": (1e-6, 1e9), "dropout": (0.0, 0.99), "drop_path": (0.0, 0.99),
            "token_dropout": (0.0, 0.99),
        }  # fmt: skip
        within(self, "optimiser.", limits)


@dataclass(frozen=True)
class ObjectiveConfig:
    """ITC, ITM and LM as in the paper (section 3.2) and its published settings.

    queue: momentum features kept as further contrastive candidates, cut to two thirds of the data set where that is
    smaller.
    queue_start_epoch: the queue stays empty before it. While the features of different pictures are still alike, the
        one thing that tells a batch from the queue is how far the momentum encoder has moved since, and that is then
        learned.
    alpha: weight of the momentum model's soft targets, ramped up over the first `alpha_ramp_epochs`.
    captions_per_image: texts of one picture a step for LM and ITC; ITM uses the first of them.
    word_dropout: share of the decoder's input tokens that are blanked (Bowman et al. 2016), so that the next word is
        taken from the picture rather than remembered with the words before it.
    cider_weight: of self-critical training on CIDEr-D, a last stage for a model that captions well already; proposals:
        captions of its own a picture. Dropout and what is like it should then be 0.
    """

    queue: int = 57600
    queue_start_epoch: int = 0
    momentum: float = 0.995
    alpha: float = 0.4
    alpha_ramp_epochs: float = 1.0
    label_smoothing: float = 0.1
    captions_per_image: int = 1
    word_dropout: float = 0.0
    itc_weight: float = 1.0
    itm_weight: float = 1.0
    lm_weight: float = 1.0
    cider_weight: float = 0.0
    proposals: int = 5

    def __post_init__(self) -> None:
        limits = {
            "queue": (0, MANY), "momentum": (0.0, 1.0), "alpha": (0.0, 1.0), "alpha_ramp_epochs": (0.0, 1e9),
            "label_smoothing": (0.0, 0.99), "captions_per_image": (1, 1000), "word_dropout": (0.0, 0.99),
            "itc_weight": (0.0, 1e6), "itm_weight": (0.0, 1e6), "lm_weight": (0.0, 1e6), "cider_weight": (0.0, 1e6),
            "proposals": (2, 64),
        }  # fmt: skip
        within(self, "objective.", limits)


@dataclass(frozen=True)
class RunConfig:
    """What every run is told.

    output: the folder that it writes to. device: "cpu", "cuda" or "auto". bfloat16: autocast; the contrast is computed
    in float32 all the same. threads: of torch on the CPU; 0 leaves the choice to torch. save_minutes: time between
    resumable checkpoints. log_steps: between progress lines.
    """

    output: str = "runs/pretrain"
    seed: int = 0
    device: str = "auto"
    bfloat16: bool = True
    threads: int = 0
    save_minutes: float = 5.0
    log_steps: int = 20

    def __post_init__(self) -> None:
        limits = {
            "seed": (0, 2**63 - 1), "threads": (0, 1024), "save_minutes": (0.0, 1e12), "log_steps": (1, MANY),
        }  # fmt: skip
        within(self, "", limits)
        if self.device not in ("cpu", "cuda", "auto"):
            raise OptionError(f'device = {self.device!r}: give "cpu", "cuda" or "auto"')
        if not self.output:
            raise OptionError("output is empty: name the folder that the run writes to")

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as logged and kept in checkpoints."""
        return asdict(self)


@dataclass(frozen=True)
class PretrainConfig(RunConfig):
    """One pre-training run.

    backbone: MobileNetV2 weights as a safetensors file (`layers.N.weight`), for model.vision.kind = "mobilenet_v2".
    start: a checkpoint folder of the same sizes to start from instead of random weights; its vocabulary is kept.
    model.text's vocab_size and special ids come from the vocabulary, whatever stands here.

    Raises OptionError on a value outside its range, or values that exclude each other.
    """

    backbone: str = ""
    start: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    model: ModelConfig = field(default_factory=ModelConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if set(self.model.tasks) != set(PRETRAINED):
            raise OptionError(f"model.tasks = {list(self.model.tasks)}: pre-training teaches {', '.join(PRETRAINED)}")
        _check_model(self.model, self.data.max_text_tokens)
        _check_backbone(self)


def read_config(path: Path) -> PretrainConfig:
    """Read a TOML file. Raises OptionError that names an unknown key, a wrong type or value, or an unreadable file."""
    tables = read_toml(path)
    model = table(tables.pop("model", {}), "model")
    vision = build(VisionConfig, model.pop("vision", {}), "model.vision")
    text = build(TextConfig, model.pop("text", {}), "model.text")
    parts = {
        "data": build(DataConfig, tables.pop("data", {}), "data"),
        "optimiser": build(OptimiserConfig, tables.pop("optimiser", {}), "optimiser"),
        "objective": build(ObjectiveConfig, tables.pop("objective", {}), "objective"),
        "model": build(ModelConfig, {**model, "vision": vision, "text": text}, "model"),
    }
    return build(PretrainConfig, {**tables, **parts}, "the top level")


def _check_model(model: ModelConfig, max_text_tokens: int) -> None:
    vision, text = model.vision, model.text
    if vision.kind not in ("vit", "mobilenet_v2"):
        raise OptionError(f'model.vision.kind = {vision.kind!r} is unknown: give "vit" or "mobilenet_v2"')
    sizes: dict[str, tuple[float, float]] = dict.fromkeys(("width", "layers", "heads", "mlp_width"), (1, 10**6))
    within(vision, "model.vision.", {**sizes, "image_size": (1, 10**5), "patch_size": (1, 10**5), "std": (1e-6, 1e6)})
    within(text, "model.text.", {**sizes, "max_positions": (1, 10**6)})
    within(model, "model.", {"projection": (1, 10**6)})
    token = vision.patch_size if vision.kind == "vit" else BACKBONE_STRIDE
    if vision.image_size % token:
        raise OptionError(f"model.vision.image_size = {vision.image_size} is not a multiple of {token}: round it")
    for name, part in (("vision", vision), ("text", text)):
        if part.width % part.heads:
            raise OptionError(
                f"model.{name}.width = {part.width} is not a multiple of its heads ({part.heads}): change one of them"
            )
    if text.max_positions < max_text_tokens:
        raise OptionError(
            f"model.text.max_positions = {text.max_positions} is less than data.max_text_tokens = {max_text_tokens}: "
            "raise the one or lower the other"
        )


def _check_backbone(config: PretrainConfig) -> None:
    """Settings that only a convolutional backbone has."""
    frozen, kind = config.optimiser.frozen_layers, config.model.vision.kind
    if config.start and config.backbone:
        raise OptionError("start and backbone exclude each other: a start checkpoint has its backbone, leave one out")
    if config.start and config.data.vocabulary:
        raise OptionError("start and data.vocabulary exclude each other: a start checkpoint has its vocabulary")
    used = {
        "backbone": config.backbone,
        "optimiser.frozen_layers": frozen,
        "data.cached_views": config.data.cached_views,
    }
    if kind != "mobilenet_v2" and (names := [name for name, value in used.items() if value]):
        raise OptionError(f'{names[0]} needs model.vision.kind = "mobilenet_v2", not {kind!r}: leave it out')
    if config.data.cached_views and not frozen:
        raise OptionError("data.cached_views needs optimiser.frozen_layers > 0: what learns cannot be cached")
    layers = mobilenet_v2_layers()
    ends = [0, *(layer.index for layer in layers if layer.starts_block), len(layers) - 1, len(layers)]
    if frozen not in ends:
        near = sorted(ends, key=lambda end: abs(end - frozen))[:2]
        raise OptionError(
            f"optimiser.frozen_layers = {frozen} ends within a block: give {min(near)} or {max(near)} instead"
        )
