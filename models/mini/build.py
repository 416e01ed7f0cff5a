"""A trained run -> the bundled checkpoint and its model card, every figure of the card measured here.

python models/mini/build.py runs/mini-answers/checkpoint --data ../shared/data/flickr8k/dev-0000.tar \
    --questions runs/questions --daquar ../shared/data/daquar/train-0000.tar

Stores the weights (their mean, where several runs are named) in bfloat16, evaluates what was stored, and draws twelve
development photos at random for the card. `python -m openblip.train.questions` writes the questions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openblip import Blip, GenerateOptions
from openblip.bulk.shards import Sample, find_shards, read_shards
from openblip.checkpoint import Checkpoint, Tensors, load_checkpoint, save_checkpoint
from openblip.evaluate import (
    AnswerEvaluation,
    CaptionEvaluation,
    RetrievalEvaluation,
    evaluate_answers,
    evaluate_captions,
    evaluate_retrieval,
    read_asked,
)
from openblip.evaluate.answers import KindScores
from openblip.evaluate.questions import examples
from openblip.metrics import RetrievalScores
from openblip.metrics.answers import AnswerPrior
from openblip.train.config import PretrainConfig, read_config
from openblip_mini import FOLDER

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parent.parent / "configs"
PRECISIONS = ("f32", "bf16", "int8")
DRAWN, DRAW_SEED = 12, 2022


def main() -> int:
    """Store, measure, write the card."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "checkpoints",
        nargs="+",
        metavar="FOLDER[=SHARE]",
        help="trained checkpoints of the same sizes, whose weights are averaged by their shares",
    )
    parser.add_argument("--data", required=True, help="shards of the development split")
    parser.add_argument("--questions", required=True, type=Path, help="folder of questions about them and about DAQUAR")
    parser.add_argument("--daquar", required=True, help="DAQUAR's shards")
    parser.add_argument("--rerank", type=int, default=32, help="how many of each query's best the matching head sees")
    arguments = parser.parse_args()

    trained, tensors = averaged(arguments.checkpoints)
    save_checkpoint(FOLDER, trained.config, tensors, trained.vocabulary, bfloat16=True)
    samples = list(read_shards(find_shards(arguments.data)))
    captions = {}
    for precision in PRECISIONS:
        captions[precision] = evaluate_captions(Blip.load(FOLDER, precision=precision), samples)
        sys.stderr.write(f"{precision}: CIDEr {captions[precision].scores.cider:.4f}\n")
    blip = Blip.load(FOLDER, precision="bf16")
    greedy = evaluate_captions(blip, samples, GenerateOptions(num_beams=1))
    retrieval = evaluate_retrieval(blip, samples, rerank=arguments.rerank)
    answers = [
        _answers(blip, arguments.questions, prefix, shards)
        for prefix, shards in (("", arguments.data), ("daquar-", arguments.daquar))
    ]
    stored = load_checkpoint(FOLDER, "mini")
    runs = [(path.name, read_config(path)) for path in sorted(CONFIGS.glob("mini-*.toml"))]
    text = card(stored, runs, captions, greedy, retrieval, answers, samples)
    (FOLDER / "MODEL_CARD.md").write_text(text, encoding="utf-8")
    sys.stderr.write(f"wrote {FOLDER / 'MODEL_CARD.md'}\n")
    return 0


def averaged(folders: Sequence[str]) -> tuple[Checkpoint, Tensors]:
    """The first of some checkpoints, and the mean of all their tensors (Wortsman et al. 2022). folders: each with its
    share behind "=", or 1."""
    loaded = []
    for text in folders:
        folder, _, share = text.partition("=")
        loaded.append((load_checkpoint(Path(folder)), float(share or 1)))
    (first, _), whole = loaded[0], sum(share for _, share in loaded)
    if any(other.config != first.config for other, _ in loaded):
        raise ValueError("the checkpoints are not of the same sizes")
    means = {
        name: sum((other.tensors[name] * np.float32(share / whole) for other, share in loaded), np.float32(0))
        for name in first.tensors
    }
    return first, means


def card(
    checkpoint: Checkpoint,
    runs: list[tuple[str, PretrainConfig]],
    captions: dict[str, CaptionEvaluation],
    greedy: CaptionEvaluation,
    retrieval: RetrievalEvaluation,
    answers: Sequence[AnswerEvaluation],
    samples: list[Sample],
) -> str:
    """The whole text of MODEL_CARD.md."""
    template = (HERE / "model_card_template.md").read_text(encoding="utf-8")
    best, config = captions["bf16"].scores, runs[-1][1]
    values = {
        "revision": checkpoint.revision,
        "parameters": f"{sum(tensor.size for tensor in checkpoint.tensors.values()) / 1e6:.1f}",
        "megabytes": f"{sum(path.stat().st_size for path in FOLDER.iterdir()) / 1e6:.1f}",
        "vocabulary": f"{checkpoint.config.text.vocab_size:,}",
        "run_rows": _run_rows(runs),
        "batch": str(config.optimiser.batch),
        "backbone_rate": f"{config.optimiser.backbone_rate:g}",
        "frozen_layers": str(config.optimiser.frozen_layers),
        "queue": f"{config.objective.queue:,}",
        "views": str(config.data.cached_views),
        "caption_rows": _caption_rows(captions, greedy),
        "retrieval_rows": _retrieval_rows(retrieval),
        "answer_rows": "\n".join(map(_answer_row, (*answers[0].kinds, answers[0].macro))),
        "daquar_row": _answer_row(answers[1].overall),
        "images": f"{best.images:,}",
        "distinct": f"{best.distinct_captions:,}",
        "words": f"{best.vocabulary:,}",
        "drawn": _drawn(captions["bf16"], samples),
        "rerank": str(retrieval.rerank),
    }
    for name, value in values.items():
        template = template.replace("{{" + name + "}}", value)
    if "{{" in template:
        raise ValueError(f"the template asks for something unknown: {template[template.index('{{') :][:40]}")
    return template


def _run_rows(runs: list[tuple[str, PretrainConfig]]) -> str:
    return "\n".join(
        f"| `{name}` | {run.optimiser.epochs} | {run.optimiser.learning_rate:g} | {run.objective.captions_per_image} "
        f"| {run.optimiser.dropout:g} | {run.optimiser.token_dropout:g} | {run.objective.word_dropout:g} "
        f"| {run.objective.cider_weight:g} |"
        for name, run in runs
    )


def _caption_rows(captions: dict[str, CaptionEvaluation], greedy: CaptionEvaluation) -> str:
    rows = {f"beam 3, {precision}": result.scores for precision, result in captions.items()}
    rows["greedy, bf16"] = greedy.scores
    return "\n".join(
        f"| {name} | {scores.cider:.3f} | {scores.bleu4:.3f} | {scores.bleu1:.3f} | {scores.rouge_l:.3f} |"
        for name, scores in rows.items()
    )


def _retrieval_rows(retrieval: RetrievalEvaluation) -> str:
    rows = [_recall_row("ITC alone", retrieval.itc)]
    if retrieval.itm is not None:
        rows.append(_recall_row(f"best {retrieval.rerank} re-ranked by ITM", retrieval.itm))
    return "\n".join(rows)


def _recall_row(name: str, scores: RetrievalScores) -> str:
    recalls = (
        scores.text_to_image_r1, scores.text_to_image_r5, scores.text_to_image_r10,
        scores.image_to_text_r1, scores.image_to_text_r5, scores.image_to_text_r10,
    )  # fmt: skip
    return f"| {name} | " + " | ".join(f"{recall:.3f}" for recall in recalls) + " |"


def _answers(blip: Blip, folder: Path, prefix: str, shards: str) -> AnswerEvaluation:
    """On the questions of a development split, beside the most frequent answers of its training split."""
    prior = AnswerPrior(examples([folder / f"{prefix}train.jsonl"]))
    return evaluate_answers(blip, read_asked([shards], folder / f"{prefix}dev.jsonl"), prior=prior)


def _answer_row(scores: KindScores) -> str:
    return f"| {scores.kind} | {scores.questions:,} | {scores.accuracy:.3f} | {scores.prior or 0.0:.3f} |"


def _drawn(result: CaptionEvaluation, samples: list[Sample]) -> str:
    """Twelve photos drawn with a fixed seed, the model's words beside one human caption."""
    chosen = np.random.default_rng(DRAW_SEED).choice(len(samples), DRAWN, replace=False)
    rows = [
        f"| `{samples[index].key}` | {result.scores.captions[index]} | {samples[index].captions[0].strip()} |"
        for index in sorted(chosen.tolist())
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
