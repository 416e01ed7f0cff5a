"""Caption scores by the field's own tools, pycocoevalcap, as far as they run on this machine.

BLEU, ROUGE-L and CIDEr-D are Python and always run. The Penn Treebank tokeniser and METEOR are Java. SPICE is Java too
and needs models of half a gigabyte that its authors' server hands out. What did not run is named with its reason.
Knows no model and no picture.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from openblip.errors import MissingExtra
from openblip.metrics.captions import caption_tokens, check_captions

Texts = dict[int, list[str]]
"""Of each image, as words with single spaces between."""

_JAVA_SECONDS = 600
_SPICE_MODEL = "stanford-corenlp-3.6.0-models.jar"
_NO_JAVA = "needs Java, and there is none on the path"


@dataclass(frozen=True, slots=True)
class ReferenceScores:
    """What pycocoevalcap says.

    scores: "BLEU-1" to "BLEU-4", "ROUGE-L", "CIDEr", and where they ran "METEOR" and "SPICE". left_out: what did not
    run, and why. tokens: whose words were compared, those of the Java tokeniser ("ptb") or of `caption_tokens`
    ("openblip").
    """

    scores: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    tokens: Literal["ptb", "openblip"] = "openblip"

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


def reference_scores(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, fetch_spice: bool = False
) -> ReferenceScores:
    """Score one caption an image against that image's references with the reference tools.

    fetch_spice: let SPICE fetch its models where they are not there yet. A tool that cannot run is left out, which the
    result says. Raises MissingExtra where pycocoevalcap itself is not installed, InputError or DataError on captions
    that cannot be scored.
    """
    check_captions(hypotheses, references)
    folder, left_out = _package(), dict[str, str]()
    words, truths, tokens = _words(folder, hypotheses, references, left_out)
    scores = _python_scores(words, truths)
    others: dict[str, Callable[[], float]] = {
        "METEOR": lambda: _meteor(folder, words, truths),
        "SPICE": lambda: _spice(folder, hypotheses, references, fetch_spice),
    }
    for name, score in others.items():
        try:
            scores[name] = score()
        except _CannotRunError as error:
            left_out[name] = str(error)
    return ReferenceScores(scores, left_out, tokens)


class _CannotRunError(Exception):
    """Why a tool does not run here."""


def _package() -> Path:
    """The folder of pycocoevalcap."""
    try:
        from pycocoevalcap.bleu import bleu
    except ModuleNotFoundError as error:
        raise MissingExtra("pycocoevalcap", "eval") from error
    return Path(str(bleu.__file__)).parent.parent


def _words(
    folder: Path, hypotheses: Sequence[str], references: Sequence[Sequence[str]], left_out: dict[str, str]
) -> tuple[Texts, Texts, Literal["ptb", "openblip"]]:
    """Tokenised captions and references, and by whom."""
    try:
        lines = iter(_tokenised(folder, [*hypotheses, *(text for group in references for text in group)]))
        words = {image: [next(lines)] for image in range(len(hypotheses))}
        return words, {image: [next(lines) for _ in group] for image, group in enumerate(references)}, "ptb"
    except _CannotRunError as error:
        left_out["PTB tokenizer"] = f"{error}: the words of openblip are compared"
    truths = {image: [" ".join(caption_tokens(text)) for text in group] for image, group in enumerate(references)}
    return {image: [" ".join(caption_tokens(text))] for image, text in enumerate(hypotheses)}, truths, "openblip"


def _tokenised(folder: Path, texts: Sequence[str]) -> list[str]:
    """Each text by the Penn Treebank tokeniser, coco-caption's punctuation dropped. It writes no file into the package,
    as the package's own wrapper does, so that an installation that cannot be written to serves too."""
    import pycocoevalcap.tokenizer.ptbtokenizer as ptb

    command = ["-cp", ptb.STANFORD_CORENLP_3_4_1_JAR, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines"]
    given = "".join(" ".join(text.splitlines()) + "\n" for text in texts)
    lines = _java(folder / "tokenizer", [*command, "-lowerCase"], given).split("\n")[: len(texts)]
    if len(lines) != len(texts):
        raise _CannotRunError(f"the Java tokeniser gave {len(lines)} lines for {len(texts)} texts")
    return [" ".join(word for word in line.split() if word not in ptb.PUNCTUATIONS) for line in lines]


def _python_scores(words: Texts, truths: Texts) -> dict[str, float]:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    bleu = Bleu(4).compute_score(truths, words, verbose=0)[0]
    scores = {f"BLEU-{place}": float(score) for place, score in enumerate(bleu, start=1)}
    rouge, cider = Rouge().compute_score(truths, words)[0], Cider().compute_score(truths, words)[0]
    return {**scores, "ROUGE-L": float(rouge), "CIDEr": float(cider)}


def _meteor(folder: Path, words: Texts, truths: Texts) -> float:
    """METEOR 1.5 in the mode that coco-caption uses: a line of statistics for each image, then one figure of all
    together. One process for both, since its tables take seconds to load."""
    command = ["-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"]
    with _talk(folder / "meteor", command) as ask:
        texts = ([*truths[image], caption] for image, [caption] in words.items())
        rows = [" ||| ".join(["SCORE", *(text.replace("|||", " ") for text in group)]) for group in texts]
        statistics = [ask(row, 1)[0] for row in rows]
        found = ask(" ||| ".join(["EVAL", *statistics]), len(rows) + 1)[-1]
    try:
        return float(found)
    except ValueError as error:
        raise _CannotRunError(f"METEOR gave {found!r} where a figure should be") from error


def _spice(folder: Path, hypotheses: Sequence[str], references: Sequence[Sequence[str]], fetch: bool) -> float:
    """The mean F-score of SPICE over the captions as they are written."""
    if shutil.which("java") is None:
        raise _CannotRunError(_NO_JAVA)
    if not (folder / "spice" / "lib" / _SPICE_MODEL).exists():
        if not fetch:
            raise _CannotRunError("its models (half a gigabyte) are not there: let it fetch them with --spice")
        _fetch_spice_models()
    rows = [
        {"image_id": image, "test": text, "refs": list(group)}
        for image, (text, group) in enumerate(zip(hypotheses, references, strict=True))
    ]
    with tempfile.TemporaryDirectory() as scratch:
        given, result = Path(scratch) / "captions.json", Path(scratch) / "scores.json"
        given.write_text(json.dumps(rows), encoding="utf-8")
        command = ["-Xmx8G", "-jar", "spice-1.0.jar", str(given), "-out", str(result), "-subset", "-silent"]
        _java(folder / "spice", command, "")
        try:
            scores = [float(row["scores"]["All"]["f"]) for row in json.loads(result.read_text(encoding="utf-8"))]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _CannotRunError(f"SPICE wrote no scores that can be read: {error}") from error
    return sum(scores) / len(scores)


def _fetch_spice_models() -> None:
    from pycocoevalcap.spice.get_stanford_models import get_stanford_models

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            get_stanford_models()
    except Exception as error:
        raise _CannotRunError(f"its models cannot be fetched ({type(error).__name__}: {error})") from error


def _java(folder: Path, arguments: Sequence[str], text: str) -> str:
    """What a Java program, started in its folder, answers to a text."""
    try:
        done = subprocess.run(
            _java_command(arguments), cwd=folder, input=text, capture_output=True, check=True, timeout=_JAVA_SECONDS,
            encoding="utf-8",
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        said = " ".join(str(error.stderr).split())[-200:]
        raise _CannotRunError(f"Java ended with {error.returncode}: {said}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _CannotRunError(f"Java did not run: {error}") from error
    return done.stdout


@contextlib.contextmanager
def _talk(folder: Path, arguments: Sequence[str]) -> Iterator[Callable[[str, int], list[str]]]:
    """A Java program that answers line by line: called with a line and how many lines come back."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
        try:
            process = subprocess.Popen(
                _java_command(arguments), cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints,
                encoding="utf-8",
            )  # fmt: skip
        except OSError as error:
            raise _CannotRunError(f"Java did not run: {error}") from error

        def ask(line: str, answers: int) -> list[str]:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(f"{line}\n")
                process.stdin.flush()
                lines = [process.stdout.readline() for _ in range(answers)]
            except OSError:
                lines = [""]
            if "" in lines:
                code = process.wait()
                complaints.seek(0)
                raise _CannotRunError(f"Java ended with {code}: {' '.join(complaints.read().split())[-200:]}")
            return [answer.strip() for answer in lines]

        late = threading.Timer(_JAVA_SECONDS, process.kill)
        late.start()
        try:
            yield ask
        finally:
            late.cancel()
            process.kill()
            with contextlib.suppress(OSError):  # what was written and not read
                process.communicate()


def _java_command(arguments: Sequence[str]) -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise _CannotRunError(_NO_JAVA)
    return [java, "-Dfile.encoding=UTF-8", *arguments]
