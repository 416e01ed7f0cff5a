"""Results picture by picture as one HTML file, worst first, for a look at what goes wrong.

The file stands alone: thumbnails lie in it, and nothing is fetched. Texts are escaped. Knows no model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from openblip.errors import DataError, ImageError
from openblip.evaluate.answers import AnswerEvaluation, ScoredAnswer
from openblip.evaluate.captions import CaptionEvaluation
from openblip.evaluate.retrieval import RetrievalEvaluation
from openblip.thumbnail import data_uri, thumbnail

THUMBNAIL = 160  # pixels of the longer side
MANY = 1000  # pictures in one file: about 6 MB

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(20em, 1fr)); gap: 1em; }
article { border: 1px solid #ccc; border-radius: 6px; padding: 0.8em; overflow-wrap: anywhere; }
article img { max-width: 100%; } h2 { font-size: 1em; margin: 0.4em 0; } ul { padding-left: 1.2em; margin: 0.4em 0; }
.score { float: right; font-weight: bold; } .wrong { color: #a00; } .right { color: #060; } .more { color: #666; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } .wrong { color: #f77; }
  .right { color: #7c7; } .more { color: #999; } article { border-color: #444; } }
"""


@dataclass(frozen=True, slots=True)
class _Card:
    """One picture. score: by which the cards are sorted; shown: how it is printed; body: HTML."""

    key: str
    score: float
    shown: str
    body: str


def write_gallery(
    path: Path, result: CaptionEvaluation | AnswerEvaluation | RetrievalEvaluation, images: Mapping[str, bytes]
) -> None:
    """Write the gallery of a result. images: the bytes of each picture by its key.

    Of more than 1,000 pictures the worst and the best 500 are shown. Raises DataError where the file cannot be written
    or a picture is not there.
    """
    title, cards = _cards(result)
    cards.sort(key=lambda card: card.score)
    shown = cards if len(cards) <= MANY else [*cards[: MANY // 2], *cards[-MANY // 2 :]]
    left_out = f" The {len(cards) - len(shown)} between the worst and the best are left out." if shown != cards else ""
    try:
        articles = "\n".join(_article(card, images[card.key]) for card in shown)
    except KeyError as error:
        raise DataError(
            f"the picture {error} of the result is not among those given: give the data of the run"
        ) from error
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"<p>{len(cards)} pictures, worst first.{left_out}</p>\n<main>\n{articles}\n</main>\n</body>\n</html>\n"
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write the gallery {path}: {error.strerror}: name another file") from error


def _cards(result: CaptionEvaluation | AnswerEvaluation | RetrievalEvaluation) -> tuple[str, list[_Card]]:
    match result:
        case CaptionEvaluation():
            return f"{result.model}: captions, CIDEr-D {result.scores.cider:.3f}", _caption_cards(result)
        case AnswerEvaluation():
            return f"{result.model}: answers, accuracy {result.overall.accuracy:.3f}", _answer_cards(result)
        case RetrievalEvaluation():
            return f"{result.model}: retrieval", _retrieval_cards(result)


def _caption_cards(result: CaptionEvaluation) -> list[_Card]:
    scores = result.scores
    rows = zip(result.keys, scores.captions, scores.cider_by_image, result.references, strict=True)
    return [
        _Card(key, cider, f"{cider:.2f}", f"<p>{escape(caption)}</p>{_list(map(_more, references))}")
        for key, caption, cider, references in rows
    ]


def _answer_cards(result: AnswerEvaluation) -> list[_Card]:
    groups: dict[str, list[ScoredAnswer]] = defaultdict(list)
    for each in result.answers:
        groups[each.key].append(each)
    cards = []
    for key, answers in groups.items():
        mean = sum(each.accuracy for each in answers) / len(answers)
        cards.append(
            _Card(key, mean, f"{mean:.2f}", _list(map(_answer, sorted(answers, key=lambda each: each.accuracy))))
        )
    return cards


def _retrieval_cards(result: RetrievalEvaluation) -> list[_Card]:
    return [
        _Card(
            image.key, 1 / image.rank, f"rank {image.rank}",
            f"<p>first found: {escape(image.first)}</p>"
            + _more(f"ranks of the picture by its captions: {', '.join(map(str, image.caption_ranks))}"),
        )
        for image in result.images
    ]  # fmt: skip


def _answer(each: ScoredAnswer) -> str:
    mark = "right" if each.accuracy >= 0.5 else "wrong"
    expected = ", ".join(dict.fromkeys(each.question.answers))
    return f'{escape(each.question.text)} <b class="{mark}">{escape(each.answer)}</b> ' + _more(
        f"({expected}; {each.probability:.0%} sure)"
    )


def _more(text: str) -> str:
    return f'<span class="more">{escape(text)}</span>'


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _article(card: _Card, image: bytes) -> str:
    return (
        f'<article><span class="score">{card.shown}</span><h2>{escape(card.key)}</h2>'
        f'<img alt="" loading="lazy" src="{_thumbnail(card.key, image)}">{card.body}</article>'
    )


def _thumbnail(key: str, image: bytes) -> str:
    """As a data URI."""
    try:
        return data_uri(thumbnail(image, THUMBNAIL))
    except ImageError as error:
        raise DataError(f"{key}: {error}") from error
