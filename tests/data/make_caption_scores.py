"""Writes caption_scores.json: what the field's own scorers say about made-up captions.

Needs Java and `pip install --no-deps pycocoevalcap==1.2` (its BLEU is not free for commercial use and its jars weigh
60 MB, so it is no dependency of the tests; they read the figures from the file).
"""

# ruff: noqa: T201
from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pycocoevalcap.tokenizer.ptbtokenizer as ptb
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge.rouge import Rouge

WORDS = "a the two dog dogs man woman red ball runs sits on in grass beach with near of it it it".split()
SENTENCES = [
    "A man's t-shirt, isn't it?",
    "Don't! He can't; they won't. I'm, you're we've she'd it'll",
    "the dogs' bowl and the boy's \"red\" ball",
    "gonna wanna gotta gimme cannot lemme",
    "black/white and/or 1/2 3:30 pm $5 50% #1",
    "rock 'n' roll, '90s car , 1990's , the 90s",
    "co-worker T-shirt black-and-white -dash -- end — em – en",
    "U.S. flag, e.g. this etc. Mr. Smith St. John",
    "a & b; wow!! it’s “nice” ‘so’",
    'he said:"go" (left) [right] {x} * ~ ^ _ + =',
    "o'clock ma'am d'or l'eau 'tis 'twas",
    "7-Up 10x10 1,000 3.5 6ft 5th . toilet,sink",
    "Two dogs play in the snow .",
    "a child 's toy ... on the floor !",
    "",
]


def sentence(generator: random.Random, shortest: int) -> str:
    """Words in any order; repeats are frequent, so that clipping matters."""
    return " ".join(generator.choice(WORDS) for _ in range(generator.randint(shortest, 14)))


def main() -> None:
    """Score thirty made-up images, and tokenise the sentences above."""
    generator = random.Random(7)
    references = [[sentence(generator, 1) for _ in range(generator.randint(1, 5))] for _ in range(30)]
    hypotheses = [sentence(generator, 1) if generator.random() < 0.5 else group[0] + " it" for group in references]
    cider, bleu = CiderScorer(n=4, sigma=6.0), BleuScorer(n=4)
    for hypothesis, group in zip(hypotheses, references, strict=True):
        cider += (hypothesis, group)
        bleu += (hypothesis, group)
    truths = dict(enumerate(references))
    rouge = Rouge().compute_score(truths, {index: [text] for index, text in enumerate(hypotheses)})
    folder = Path(ptb.__file__).parent
    command = ["java", "-cp", ptb.STANFORD_CORENLP_3_4_1_JAR, "edu.stanford.nlp.process.PTBTokenizer"]
    tokenised = subprocess.run(
        [*command, "-preserveLines", "-lowerCase"], input="\n".join(SENTENCES) + "\n", text=True, cwd=folder,
        capture_output=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    result = {
        "made_by": "tests/data/make_caption_scores.py with pycocoevalcap 1.2 and Stanford CoreNLP 3.4.1",
        "hypotheses": hypotheses,
        "references": references,
        "cider_by_image": [float(score) for score in cider.compute_score()[1]],
        "bleu": [float(score) for score in bleu.compute_score(option="closest")[0]],
        "rouge_l": float(rouge[0]),
        "tokens": {
            text: [token for token in line.split() if token not in ptb.PUNCTUATIONS]
            for text, line in zip(SENTENCES, tokenised, strict=False)
        },
    }
    path = Path(__file__).with_name("caption_scores.json")
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
