"""Random models of transformers, saved by it as the published ones are, and what it makes of pictures and texts. Knows
no test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from random_blip import scale_weights

from openblip.checkpoint import Checkpoint
from openblip.engine import Engine
from openblip.engines import load_engine
from openblip.search import Hypothesis
from tiny import TINY_VOCABULARY

WORDS = [token for token in TINY_VOCABULARY if token not in ("[DEC]", "[ENC]")] + ["[MASK]", *".,'?-"]
PAD, UNK, CLS, SEP, DEC, ENC = 0, 1, 2, 3, len(WORDS), len(WORDS) + 1


def tiny_model(kind: str, *, image_size: int = 32, patch_size: int = 8, seed: int = 0) -> Any:
    """A model in evaluation mode, its weights scaled so that every output varies."""
    # transformers builds the answer decoder for states as wide as the picture's: it runs only where the widths agree.
    width = 48 if kind == "BlipForQuestionAnswering" else 64
    config = transformers.BlipConfig(
        vision_config={
            "hidden_size": width, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": image_size, "patch_size": patch_size,
        },
        text_config={
            "vocab_size": len(WORDS) + 2, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 40, "bos_token_id": DEC, "sep_token_id": SEP,
            "pad_token_id": PAD, "eos_token_id": SEP,
        },
        image_text_hidden_size=24,
    )  # fmt: skip
    model = getattr(transformers, kind)(config).eval()
    scale_weights(model, seed)
    if hasattr(model, "text_decoder"):
        with torch.no_grad():  # so that texts end by themselves, and at different lengths
            model.text_decoder.cls.predictions.bias[SEP] += 0.75
    return model


def save_tiny(model: Any, folder: Path) -> Path:
    """The folder as the published ones are: weights, config, processor and tokenizer, all written by transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    model.save_pretrained(folder)
    tokenizer = transformers.BertTokenizerFast.from_pretrained(folder, do_lower_case=True)
    tokenizer.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
    side = model.config.vision_config.image_size
    pictures = transformers.BlipImageProcessorPil(size={"height": side, "width": side})
    transformers.BlipProcessor(pictures, tokenizer).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    return folder


def engine_of(name: str, checkpoint: Checkpoint, precision: str = "f32") -> Engine:
    return load_engine(name, checkpoint.config, checkpoint.tensors, precision=precision, device="cpu")


def pictures(count: int, size: int, seed: int = 1) -> torch.Tensor:
    """Pixels [count, 3, size, size] of large patches, which differ from one another as photos do."""
    coarse = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="nearest")


@dataclass(frozen=True)
class Text:
    """What transformers generated. tokens: behind the prompt, up to [SEP]; score: of its beam search, else None;
    log_probabilities: one a token of a greedy search."""

    tokens: tuple[int, ...]
    score: float | None
    log_probabilities: tuple[float, ...]


@torch.no_grad()
def generated(model: Any, sep: int = SEP, **arguments: Any) -> list[Text]:
    """The texts of model.generate(**arguments), which drops the last token of its input_ids."""
    output = model.generate(
        **arguments, do_sample=False, return_dict_in_generate=True, output_scores=True, output_logits=True
    )
    asks = type(model).__name__ == "BlipForQuestionAnswering"
    start = arguments["input_ids"].shape[1] - 1 if "input_ids" in arguments and not asks else 1
    beams = arguments.get("num_beams", 1) > 1
    steps = None if beams else model.text_decoder.compute_transition_scores(
        output.sequences, output.logits, normalize_logits=True
    ).tolist()  # fmt: skip
    texts = []
    for row, sequence in enumerate(output.sequences.tolist()):
        tokens = cut(sequence[start:], sep)
        own = () if steps is None else tuple(steps[row][: len(tokens)])
        texts.append(Text(tokens, output.sequences_scores[row].item() if beams else None, own))
    return texts


def cut(tokens: Sequence[int], sep: int = SEP) -> tuple[int, ...]:
    """Without the padding behind [SEP]."""
    row = list(tokens)
    return tuple(row[: row.index(sep) + 1] if sep in row else row)


def assert_same_texts(found: Sequence[Sequence[Hypothesis]], expected: Sequence[Text], close: float = 1e-4) -> None:
    """Equal tokens but for ties, which at most one in a hundred may be; every token's log-probability, or the score of
    a beam search, as close as that; and texts that vary."""
    assert len(found) == len(expected)
    same = 0
    for hypotheses, text in zip(found, expected, strict=True):
        best = hypotheses[0]
        same += best.tokens == text.tokens
        if text.score is not None:
            assert abs(best.score - text.score) <= close, (best, text)
            continue
        for ours, theirs in zip(
            zip(best.tokens, best.log_probabilities, strict=True),
            zip(text.tokens, text.log_probabilities, strict=True),
            strict=False,
        ):
            assert abs(ours[1] - theirs[1]) <= close, (best, text)
            if ours[0] != theirs[0]:
                break  # a tie; what follows is another text
    assert same >= 0.99 * len(expected), f"{same} of {len(expected)} texts are the same"
    assert len({text.tokens for text in expected}) > 0.5 * len(expected), "the model says the same of every picture"
