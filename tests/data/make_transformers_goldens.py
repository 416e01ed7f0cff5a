"""Writes transformers_goldens.json: what transformers 4.53 says about tiny models that follow from numpy's seeds.

4.53 is the last version that hands the decoder a mask of the question's padding and keeps its caches as tuples. Run it
from the top of a checkout, in an environment of its own with torch 2.13, transformers 4.53.3, safetensors, tokenizers
and pillow:

    PYTHONPATH=src:tests python tests/data/make_transformers_goldens.py

What 4.53 itself does wrong:

- Its beam search goes on filling the list of a picture that is done for as long as another of the batch is not (5.x no
  longer does), so what a picture gets depends on its neighbours. Beams are asked for one picture at a time.
- `generate` of its question answering hands the decoder a mask of ones, so that an answer depends on what its question
  is padded with. Recorded as "padded by generate", to show that it differs; with the question's own mask handed to its
  decoder, as its `forward` does it, a batch gives what single questions give ("padded").
"""

# ruff: noqa: T201
from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from golden_models import (
    CLS,
    DEC,
    GOLDENS,
    KINDS,
    PAD,
    PICTURES,
    PROMPTS,
    QUESTIONS,
    SEARCHES,
    SEP,
    cut,
    golden_folder,
    golden_photo,
    golden_pixels,
    ids_of,
    padded,
)


def loaded(kind: str, folder: Path) -> Any:
    """The model, every one of its weights from the file."""
    model, info = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"], info["missing_keys"]
    assert not info["unexpected_keys"], info["unexpected_keys"]
    return model.eval()


def asked(generate: Callable[..., Any], arrays: dict[str, torch.Tensor], start: int, **search: Any) -> dict[str, Any]:
    """Tokens behind the prompt and, where there are beams, which are searched one row at a time, their scores."""
    wanted = {"return_dict_in_generate": True, "output_scores": True, "do_sample": False}
    rows = len(next(iter(arrays.values())))
    parts = [slice(0, rows)] if search["num_beams"] == 1 else [slice(row, row + 1) for row in range(rows)]
    found: dict[str, Any] = {"tokens": []}
    for part in parts:
        output = generate(**{name: array[part].clone() for name, array in arrays.items()}, **search, **wanted)
        found["tokens"] += [cut(row[start:]) for row in output.sequences.tolist()]
        if search["num_beams"] > 1:
            found.setdefault("scores", []).extend(round(score, 6) for score in output.sequences_scores.tolist())
    return found


def captions(model: Any, pixels: torch.Tensor) -> dict[str, Any]:
    """By prompt and search."""
    found: dict[str, Any] = {}
    for prompt in PROMPTS:
        # `generate` drops the last token of its input.
        rows = torch.tensor([[CLS, *ids_of(prompt), SEP]] * PICTURES)
        arrays = {"pixel_values": pixels, "input_ids": rows}
        found[prompt] = {
            name: asked(model.generate, arrays, rows.shape[1] - 1, **search) for name, search in SEARCHES.items()
        }
    return found


def scores(model: Any, pixels: torch.Tensor) -> dict[str, Any]:
    """ITM and ITC of padded texts."""
    ids, mask = (torch.from_numpy(array) for array in padded([[CLS, *ids_of(text), SEP] for text in QUESTIONS]))
    inputs = {"pixel_values": pixels[: len(QUESTIONS)], "input_ids": ids, "attention_mask": mask}
    return {
        "itm": model(**inputs).itm_score.tolist(),
        "itc": model(**inputs, use_itm_head=False).itm_score.tolist(),
    }


def answers(model: Any, pixels: torch.Tensor) -> dict[str, Any]:
    """One question at a time, and the padded batch by greedy search."""
    rows = [[CLS, *ids_of(question), SEP] for question in QUESTIONS]
    ids, mask = (torch.from_numpy(array) for array in padded(rows))
    pixels = pixels[: len(rows)]
    found: dict[str, Any] = {}
    for name, search in SEARCHES.items():
        alone = []
        for index, row in enumerate(rows):
            question = torch.tensor([row])
            one = {"pixel_values": pixels[index : index + 1], "input_ids": question}
            alone.append(asked(model.generate, {**one, "attention_mask": torch.ones_like(question)}, 1, **search))
        found[name] = {key: [each[key][0] for each in alone] for key in alone[0]}
    read = model.text_encoder(
        ids, attention_mask=mask, encoder_hidden_states=model.vision_model(pixels).last_hidden_state
    ).last_hidden_state
    decoded = {
        "input_ids": torch.full((len(rows), 1), DEC), "encoder_hidden_states": read, "encoder_attention_mask": mask,
    }  # fmt: skip
    closed = partial(model.text_decoder.generate, eos_token_id=SEP, pad_token_id=PAD)
    found["padded"] = asked(closed, decoded, 1, **SEARCHES["greedy"])
    inputs = {"pixel_values": pixels, "input_ids": ids, "attention_mask": mask}
    found["padded by generate"] = asked(model.generate, inputs, 1, **SEARCHES["greedy"])
    return found


def pipelines(folders: dict[str, Path]) -> dict[str, Any]:
    """What the two pipelines, which transformers 5 no longer has, say of photos."""
    captioner = transformers.pipeline("image-to-text", model=str(folders["BlipForConditionalGeneration"]))
    oracle = transformers.pipeline("visual-question-answering", model=str(folders["BlipForQuestionAnswering"]))
    photos = [golden_photo(index) for index in range(3)]
    return {
        "captions": captioner(photos),
        "a caption": captioner(photos[0], max_new_tokens=7),
        "prompted": captioner(photos, prompt="a dog", generate_kwargs={"num_beams": 2, "max_new_tokens": 9}),
        "answers": [oracle(image=photo, question="is the dog young?") for photo in photos],
        "crossed": oracle(image=photos[:2], question=["a red hat", "two"]),
    }


@torch.no_grad()
def main() -> None:
    """Ask and write."""
    assert transformers.__version__.startswith("4.53."), transformers.__version__
    pixels = torch.from_numpy(golden_pixels())
    with tempfile.TemporaryDirectory() as home:
        folders = {kind: Path(home) / kind for kind in KINDS}
        sums = {kind: golden_folder(folder, kind) for kind, folder in folders.items()}
        captioner, matcher, answerer = (loaded(kind, folders[kind]) for kind in KINDS)
        result = {
            "made_by": f"make_transformers_goldens.py with transformers {transformers.__version__}",
            "weights": {kind: round(value, 2) for kind, value in sums.items()},
            "captions": captions(captioner, pixels),
            "scores": scores(matcher, pixels),
            "answers": answers(answerer, pixels),
            "pipelines": pipelines(folders),
        }
    GOLDENS.write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(GOLDENS, GOLDENS.stat().st_size)


if __name__ == "__main__":
    main()
