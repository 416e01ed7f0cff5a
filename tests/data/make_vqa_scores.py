"""Writes vqa_scores.json: what the published evaluation of VQA v2 says about made-up answers.

Needs `pip install --no-deps salesforce-lavis==1.0.2`, which carries a copy of it.
"""

# ruff: noqa: T201
from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SAID = [
    "Two dogs.", "a t-shirt", "T-shirt, shorts", "yes!", "No", "none", "the 1,000 people", "3.5 feet", "5.", "u.s.a.",
    "dont know", "don't know", "it's", "its", "hes", "isnt", "black & white", "red/blue", "red / blue", "(left) side",
    "a man and a woman", "An apple", "ten", "eleven", "on the table?", "garbage_bin", "cup, stand", "rock 'n' roll",
    "shouldntve", "shouldn'tve", "somebody'd", "somebodys", "yall", "y'allll", "yall'd've", "weve", "twas", "oclock",
    "12:30", "a", "", " ", "new\nline", "tab\tbed", "half-eaten [food]", "$5", "50%", "what?!", "--", "im",
    "\"quoted\"", "a - b", "x_y_z", "1, 2, 3", "one two three", "semi;colon", "at@home", "<b>", "plus + minus",
    "back\\slash", "{x}",
]  # fmt: skip
RIGHT = ["2 dogs", "yes", "no", "0", "red", "t shirt", "dog", "3"]


def published() -> Any:
    """The evaluation without its data classes."""
    spec = importlib.util.find_spec("lavis")
    assert spec is not None, "salesforce-lavis is not installed"
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "common" / "vqa_tools" / "vqa_eval.py"
    found = importlib.util.spec_from_file_location("vqa_eval", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.VQAEval


def main() -> None:
    """Normalise the texts above, and score 150 questions with ten answers each."""
    generator, evaluation = random.Random(3), published()
    plain = evaluation()
    normalised = {
        text: plain.processDigitArticle(plain.processPunctuation(text.replace("\n", " ").replace("\t", " ").strip()))
        for text in SAID
    }
    questions = {}
    for number in range(150):
        likely = generator.sample(RIGHT, generator.randint(1, 4))
        people = [generator.choice(likely) for _ in range(10)]
        questions[number] = (generator.choice([*SAID, *RIGHT, *RIGHT, *people * 3]), people)
    truths = {
        number: {
            "answers": [{"answer": answer, "answer_id": place} for place, answer in enumerate(people)],
            "question_type": "any", "answer_type": "any",
        }
        for number, (_, people) in questions.items()
    }  # fmt: skip
    found = {number: {"answer": answer} for number, (answer, _) in questions.items()}
    scorer = evaluation(SimpleNamespace(qa=truths, getQuesIds=lambda: list(truths)), SimpleNamespace(qa=found), n=12)
    with contextlib.redirect_stdout(io.StringIO()):
        scorer.evaluate()
    result = {
        "made_by": "tests/data/make_vqa_scores.py with salesforce-lavis 1.0.2",
        "normalised": normalised,
        "questions": [
            {"answer": answer, "answers": people, "accuracy": scorer.evalQA[number] / 100}
            for number, (answer, people) in questions.items()
        ],
        "overall": scorer.accuracy["overall"] / 100,
    }
    path = Path(__file__).with_name("vqa_scores.json")
    path.write_text(
        json.dumps(result, indent=None, ensure_ascii=False).replace('{"answer"', '\n{"answer"') + "\n", "utf-8"
    )
    print(path)


if __name__ == "__main__":
    main()
