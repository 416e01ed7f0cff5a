"""Results as JSON, and as tables for a terminal or a model card."""

from __future__ import annotations

import json

from openblip.evaluate.agreement import AgreementEvaluation
from openblip.evaluate.answers import AnswerEvaluation, KindScores
from openblip.evaluate.captions import CaptionEvaluation
from openblip.evaluate.compare import Comparison
from openblip.evaluate.grounding import BASELINES, GroundingEvaluation
from openblip.evaluate.retrieval import RetrievalEvaluation
from openblip.metrics import Agreement, ReferenceScores, RetrievalScores

Evaluation = CaptionEvaluation | RetrievalEvaluation | AnswerEvaluation | AgreementEvaluation | GroundingEvaluation


def format_json(result: Evaluation | Comparison, by_image: bool = False) -> str:
    """The result as one JSON object. by_image: with every picture's own."""
    values = result.to_dict() if isinstance(result, Comparison) else result.to_dict(by_image)
    return json.dumps(values, indent=2, ensure_ascii=False)


def format_markdown(result: Evaluation | Comparison) -> str:
    """The result as a table for a terminal or a model card."""
    match result:
        case CaptionEvaluation():
            lines = _captions(result)
        case RetrievalEvaluation():
            lines = _retrieval(result)
        case AnswerEvaluation():
            lines = _answers(result)
        case AgreementEvaluation():
            lines = _agreement(result)
        case GroundingEvaluation():
            lines = _grounding(result)
        case Comparison():
            lines = _comparison(result)
    return "\n".join(lines)


def _captions(result: CaptionEvaluation) -> list[str]:
    scores, options = result.scores, result.options
    how = f"nucleus top-p {options.top_p}" if options.sample else f"beam {options.num_beams}"
    lines = [
        f"{result.model}: {scores.images} images, {how}, {scores.images / result.seconds:.1f} images/s",
        "",
        *_table(
            "CIDEr-D | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | ROUGE-L | distinct captions | vocabulary | mean length",
            f"{scores.cider:.3f} | {scores.bleu1:.3f} | {scores.bleu2:.3f} | {scores.bleu3:.3f} | {scores.bleu4:.3f} "
            f"| {scores.rouge_l:.3f} | {scores.distinct_captions} | {scores.vocabulary} | {scores.mean_length:.1f}",
        ),
    ]
    return lines if result.reference is None else [*lines, "", *_reference(result.reference)]


def _reference(reference: ReferenceScores) -> list[str]:
    words = {"ptb": "the Penn Treebank tokeniser", "openblip": "openblip"}[reference.tokens]
    lines = []
    if reference.scores:
        lines += [f"By pycocoevalcap, words by {words}:", ""]
        lines += _table(" | ".join(reference.scores), " | ".join(f"{score:.3f}" for score in reference.scores.values()))
        lines.append("")  # or the lines below would belong to the table
    return lines + [f"{name} left out: {why}" for name, why in reference.left_out.items()]


def _retrieval(result: RetrievalEvaluation) -> list[str]:
    itc = result.itc
    rows = [_recalls("ITC", itc)]
    rows += [_recalls(f"ITC + ITM of the best {at.rerank}", at.scores) for at in result.curve if at.rerank]
    return [
        f"{result.model}: {itc.images} images, {itc.texts} texts, {result.pairs} pairs matched, {result.seconds:.0f} s",
        "",
        *_table("ranked by | text to image R@1 | R@5 | R@10 | image to text R@1 | R@5 | R@10", *rows),
    ]


def _recalls(name: str, scores: RetrievalScores) -> str:
    recalls = [scores.text_to_image_r1, scores.text_to_image_r5, scores.text_to_image_r10]
    recalls += [scores.image_to_text_r1, scores.image_to_text_r5, scores.image_to_text_r10]
    return f"{name} | " + " | ".join(f"{recall:.3f}" for recall in recalls)


def _answers(result: AnswerEvaluation) -> list[str]:
    kinds, overall = result.kinds, result.overall
    how = {"generate": "written", "rank": "ranked"}[result.how]
    rows = [_kind(kind) for kind in kinds] if len(kinds) > 1 or kinds[0].kind else []
    if len(kinds) > 1:
        rows.append(_kind(result.macro))
    rate = overall.questions / result.seconds
    return [
        f"{result.model}: {result.images} images, {overall.questions} questions, answers {how}, {rate:.1f} questions/s",
        "",
        *_table("kind | questions | accuracy | answer prior", *rows, _kind(overall)),
    ]


def _kind(scores: KindScores) -> str:
    prior = "-" if scores.prior is None else f"{scores.prior:.3f}"
    return f"{scores.kind or '(none)'} | {scores.questions} | {scores.accuracy:.3f} | {prior}"


def _agreement(result: AgreementEvaluation) -> list[str]:
    return [
        f"{result.model}: {len(result.pairs)} rated pairs, {result.seconds:.0f} s",
        "",
        *_table("score | Kendall tau-b | tau-c", _taus("ITM", result.itm), _taus("ITC", result.itc)),
    ]


def _taus(name: str, agreement: Agreement) -> str:
    return f"{name} | {agreement.tau_b:.3f} | {agreement.tau_c:.3f}"


def _grounding(result: GroundingEvaluation) -> list[str]:
    whose = ""
    if result.seen_in:
        whose = f" ({result.left_out} left out: fewer than {result.seen_in} captions name the category)"
    rows = [f"this model | {result.accuracy:.3f} | - | -"]
    for name, title in zip(BASELINES, ("the middle of the picture", "raw attention, one look"), strict=True):
        above = result.above(name)
        rows.append(f"{title} | {above.first:.3f} | {above.difference:+.3f} | {above.low:+.3f} to {above.high:+.3f}")
    return [
        f"{result.model}: {len(result.cases)} cases in {result.images} images{whose}, {result.seconds:.0f} s",
        "",
        *_table("pointing by | hits | this model is ahead by | 95% interval", *rows),
    ]


def _comparison(result: Comparison) -> list[str]:
    found = result.difference
    verdict = (
        "the second is better" if found.low > 0 else "the first is better" if found.high < 0 else "no clear winner"
    )
    return [
        f"first: {result.first}",
        f"second: {result.second}",
        f"{found.images} images, {found.draws} draws: {verdict}",
        "",
        *_table(
            f"{result.metric}, first | second | difference | {found.level:.0%} interval | second ahead in",
            f"{found.first:.3f} | {found.second:.3f} | {found.difference:+.3f} | {found.low:+.3f} to {found.high:+.3f} "
            f"| {found.better:.1%} of draws",
        ),
    ]


def _table(head: str, *rows: str) -> list[str]:
    return [f"| {head} |", "|" + "---|" * (head.count("|") + 1), *(f"| {row} |" for row in rows)]
