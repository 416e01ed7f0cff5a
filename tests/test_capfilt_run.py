"""Whole runs with a tiny model: what comes out, what reads it, how a run goes on, and what it refuses."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noisy import (
    capfilt,
    outputs,
    picture_bytes,
    quiet,
    read_tar,
    sample,
    tiny_checkpoint,
    write_noisy,
    write_tar,
)
from openblip import Blip
from openblip.bulk import durable
from openblip.bulk.capfilt.settings import Decision, Scoring, nucleus
from openblip.bulk.shards import find_shards, read_shards
from openblip.errors import DataError, InputError, ModelNotFound, OptionError
from openblip.text import clean_caption


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noisy(tmp_path_factory.mktemp("web"))


def texts_of(out: Path) -> list[dict[str, Any]]:
    """Every text of a run, kept or not."""
    found = []
    for name in sorted(path.stem for path in (out / "scores").iterdir()):
        for line in (out / "rejected" / f"{name}.jsonl").read_text().splitlines():
            found += json.loads(line).get("texts", [])
        if (out / "shards" / f"{name}.tar").exists():
            for each in read_shards([out / "shards" / f"{name}.tar"]):
                found += each.metadata["capfilt"]["texts"]
    return found


def test_the_output_is_shards_with_the_kept_texts_as_captions(tmp_path: Path, web: Path, model: str) -> None:
    run = capfilt(web, tmp_path / "out", model, decision=Decision(keep_fraction=0.5))
    report = quiet(run).to_dict()
    before = {each.key: each for each in read_shards(find_shards(web))}
    after = list(read_shards(find_shards(tmp_path / "out" / "shards")))
    assert 0 < len(after) < len(before)
    for each in after:
        origin = before[each.key]
        assert each.image_bytes == origin.image_bytes
        assert {name: value for name, value in each.metadata.items() if name != "capfilt"} == origin.metadata
        texts = each.metadata["capfilt"]["texts"]
        assert tuple(text["text"] for text in texts if text["source"] == "web") == origin.captions
        assert [text["source"] for text in texts].count("synthetic") == 1
        assert list(each.captions) == [text["text"] for text in texts if text["decision"] == "kept"]
    order = [each.key for each in before.values()]
    assert [each.key for each in after] == [key for key in order if key in {each.key for each in after}]

    texts = texts_of(tmp_path / "out")
    threshold = report["thresholds"]["itm"]
    assert len(texts) == sum(len(each.captions) + 1 for each in before.values())
    for text in texts:
        assert 0 <= text["itm"] <= 1
        assert -1 <= text["itc"] <= 1
        assert (text["decision"] in ("kept", "duplicate")) == (text["itm"] >= threshold)
    kept = [text for text in texts if text["decision"] == "kept"]
    assert len(kept) == round(0.5 * len([text for text in texts if text["decision"] != "duplicate"]))
    assert report["texts"]["web"]["kept"] + report["texts"]["synthetic"]["kept"] == len(kept)
    assert report["pictures"] == {"all": 15, "kept": len(after), "no_text_kept": 15 - len(after), "broken": 0}


def test_scores_and_captions_are_those_of_blip(tmp_path: Path, web: Path, model: str) -> None:
    quiet(capfilt(web, tmp_path / "out", model))
    blip = Blip.load(model, precision="f32", threads=1)
    for each in list(read_shards(find_shards(web)))[:4]:
        lines = (tmp_path / "out" / "scores" / "web-0000.jsonl").read_text().splitlines()
        [scored] = [record for record in map(json.loads, lines) if record["key"] == each.key]
        assert scored["texts"][-1]["text"] == blip.caption(each.image_bytes, options=nucleus())[0].text
        matches = blip.match(each.image_bytes, [clean_caption(text["text"]) for text in scored["texts"]])
        for text, match in zip(scored["texts"], matches, strict=True):
            assert text["itm"] == pytest.approx(match.probability, abs=1e-5)
            assert text["itc"] == pytest.approx(match.similarity, abs=1e-5)


def test_the_pre_training_reader_takes_the_output(tmp_path: Path, web: Path, model: str) -> None:
    from openblip.train.data import index_shards

    quiet(capfilt(web, tmp_path / "out", model, decision=Decision(keep_fraction=0.7)))
    shards = find_shards(tmp_path / "out" / "shards")
    pictures = index_shards(shards)
    kept = list(read_shards(shards))
    assert [picture.captions for picture in pictures] == [tuple(map(clean_caption, each.captions)) for each in kept]
    assert pictures[0].read().size == (40, 30)


def test_captioner_and_filter_may_be_two_models_or_one_of_them(tmp_path: Path, web: Path, model: str) -> None:
    other = tiny_checkpoint(tmp_path / "model", seed=1)
    both = capfilt(web, tmp_path / "both", model, scoring=Scoring(model, other, precision="f32"))
    quiet(both)
    writes = {text["text"] for text in texts_of(tmp_path / "both") if text["source"] == "synthetic"}
    captioner = capfilt(web, tmp_path / "captioner", model, scoring=Scoring(model, None, precision="f32"))
    report = quiet(captioner).to_dict()
    texts = texts_of(tmp_path / "captioner")
    assert {text["text"] for text in texts if text["source"] == "synthetic"} == writes
    assert {(text["itm"], text["itc"]) for text in texts} == {(None, None)}
    assert report["pictures"]["kept"] == 15
    assert report["models"]["filter"] is None
    filter_ = capfilt(web, tmp_path / "filter", model, scoring=Scoring(None, other, precision="f32"))
    quiet(filter_)
    texts = texts_of(tmp_path / "filter")
    assert {text["source"] for text in texts} == {"web"}
    scores = {(text["text"], text["itm"]) for text in texts_of(tmp_path / "both") if text["source"] == "web"}
    for text in texts:
        assert any(text["text"] == words and text["itm"] == pytest.approx(itm, abs=1e-5) for words, itm in scores)


def test_one_model_encodes_each_picture_once(tmp_path: Path, web: Path, model: str) -> None:
    from openblip.bulk.capfilt.samples import ShardSamples
    from openblip.bulk.capfilt.scoring import Scorer
    from tiny_blip import calls, counted_blip

    blip = counted_blip("openvino", tmp_path)
    samples = list(ShardSamples(find_shards(web)[0]))
    scorer = Scorer(blip, blip, Scoring("tiny", "tiny"))
    assert len(list(scorer.scored(samples))) == len(samples) <= scorer.pictures_a_batch
    assert calls(blip, "encode_images") == calls(blip, "decode") == calls(blip, "match") == 1


def test_a_prompt_starts_the_caption_and_is_not_kept(tmp_path: Path, web: Path, model: str) -> None:
    scoring = Scoring(model, model, prompt="a picture of", precision="f32")
    quiet(capfilt(web, tmp_path / "out", model, scoring=scoring))
    blip = Blip.load(model, precision="f32", threads=1)
    first = next(iter(read_shards(find_shards(web))))
    [caption] = blip.caption(first.image_bytes, "a picture of", nucleus())
    line = json.loads((tmp_path / "out" / "scores" / "web-0000.jsonl").read_text().splitlines()[0])
    assert caption.text.startswith("a picture of ")
    assert line["texts"][-1]["text"] == caption.text.removeprefix("a picture of ")


def test_workers_do_not_change_the_result(tmp_path: Path, web: Path, model: str) -> None:
    one = capfilt(web, tmp_path / "one", model, decision=Decision(keep_fraction=0.6))
    quiet(one)
    quiet(replace(one, out=tmp_path / "two", workers=2))
    assert outputs(tmp_path / "one") == outputs(tmp_path / "two")
    assert "shards/web-0002.tar" in outputs(tmp_path / "one")


def test_a_finished_run_is_not_done_again(tmp_path: Path, web: Path, model: str) -> None:
    run = capfilt(web, tmp_path / "out", model)
    quiet(run)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "shards").iterdir()}
    scores = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "scores").iterdir()}
    before, said = outputs(tmp_path / "out"), list[str]()
    run.run(lambda stage, done, total: None, said.append)
    assert outputs(tmp_path / "out") == before
    assert {path: path.stat().st_mtime_ns for path in (*stamps, *scores)} == stamps | scores
    assert "3 of 3 shards are scored" in said[0]


def test_a_lost_output_is_made_again(tmp_path: Path, web: Path, model: str) -> None:
    run = capfilt(web, tmp_path / "out", model, decision=Decision(keep_fraction=0.9))
    quiet(run)
    before = outputs(tmp_path / "out")
    for name in ("shards/web-0001.tar", "scores/web-0002.jsonl", "summaries/web-0000.json", "report.html"):
        (tmp_path / "out" / name).unlink()
    quiet(run)
    assert outputs(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scoring": {"prompt": "a photo of"}}, 'prompt was "", is "a photo of"'),
        ({"scoring": {"captions": nucleus(seed=1)}}, "captions.seed was 0, is 1"),
        ({"decision": Decision(itm=0.4)}, "itm was 0.5, is 0.4.*--redecide"),
        ({"decision": Decision(keep_fraction=0.4)}, "keep_fraction was null, is 0.4"),
        ({"shown_pairs": 3}, "shown_pairs was 24, is 3"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(
    tmp_path: Path, web: Path, model: str, changes: dict[str, Any], message: str
) -> None:
    run = capfilt(web, tmp_path / "out", model)
    quiet(run)
    before = outputs(tmp_path / "out")
    if "scoring" in changes:
        changes = {"scoring": replace(run.scoring, **changes["scoring"])}
    with pytest.raises(InputError, match=message):
        quiet(replace(run, **changes))
    assert outputs(tmp_path / "out") == before


def test_other_models_and_other_shards_are_refused(tmp_path: Path, model: str) -> None:
    web = write_noisy(tmp_path / "web", shards=2, pictures=2)
    run = capfilt(web, tmp_path / "out", model)
    quiet(run)
    other = tiny_checkpoint(tmp_path / "model", seed=1)
    with pytest.raises(InputError, match=r"models\.captioner\.checkpoints\.caption\.content was"):
        quiet(replace(run, scoring=replace(run.scoring, captioner=other)))
    with pytest.raises(InputError, match="it has 2 shards, and 1 are given"):
        quiet(replace(run, shards=run.shards[:1]))
    write_tar(web / "web-0001.tar", sample("9", 9, ["another"]))
    with pytest.raises(InputError, match=r"web-0001\.tar is not what it was"):
        quiet(run)


def test_shards_and_models_may_move(tmp_path: Path, model: str) -> None:
    web = write_noisy(tmp_path / "web", shards=1, pictures=3)
    quiet(capfilt(web, tmp_path / "out", model))
    before = outputs(tmp_path / "out")
    web.rename(tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere" / "web-0000.tar")
    quiet(capfilt(tmp_path / "elsewhere", tmp_path / "out", model))
    assert outputs(tmp_path / "out") == before


def test_redecide_keeps_the_scores(tmp_path: Path, web: Path, model: str) -> None:
    strict = capfilt(web, tmp_path / "out", model, decision=Decision(keep_fraction=0.2))
    quiet(strict)
    scores = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "scores").iterdir()}
    loose = replace(strict, decision=Decision(keep_fraction=0.9), redecide=True)
    quiet(loose)
    assert {path: path.stat().st_mtime_ns for path in scores} == scores
    quiet(replace(loose, out=tmp_path / "fresh"))
    assert outputs(tmp_path / "out") == outputs(tmp_path / "fresh")
    nothing = replace(strict, decision=Decision(itc=1.0), redecide=True)
    report = quiet(nothing)
    assert list((tmp_path / "out" / "shards").iterdir()) == []
    assert report.whole.pictures == {"kept": 0, "no_text_kept": 15, "broken": 0}


def test_broken_pictures_and_shards_are_counted_and_told(tmp_path: Path, model: str) -> None:
    web = tmp_path / "web"
    bad = [*sample("1", 1, ["a dog"]), ("2.png", b"no picture"), ("2.json", b'{"captions": ["a cat"]}')]
    bad += [("3.png", picture_bytes(3)), ("3.json", b"{"), *sample("4", 4, ["a cat", "..."])]
    write_tar(web / "a.tar", bad)
    write_tar(web / "b.tar", [])
    cut = write_tar(web / "c.tar", [*sample("1", 1, ["a dog"]), *sample("2", 2, ["a cat"])])
    content = cut.read_bytes()
    cut.write_bytes(content[: content.index(b"2.png") + 700])
    everything = Decision(itm=0.0)
    report = quiet(capfilt(web, tmp_path / "out", model, decision=everything))
    assert report.whole.pictures == {"kept": 3, "no_text_kept": 0, "broken": 2}
    assert [error[:2] for error in report.whole.errors] == [["a", "2"], ["a", "3"]]
    assert "2.png is not a picture" in report.whole.errors[0][2]
    assert "3.json is not JSON" in report.whole.errors[1][2]
    assert list(report.whole.broken_off) == ["c"]
    assert sorted(path.name for path in (tmp_path / "out" / "shards").iterdir()) == ["a.tar", "c.tar"]
    kept = list(read_shards(find_shards(tmp_path / "out" / "shards")))
    assert [(each.key, each.shard.stem) for each in kept] == [("1", "a"), ("4", "a"), ("1", "c")]
    assert kept[1].metadata["capfilt"]["texts"][1]["decision"] == "empty"
    assert any("c breaks off" in line for line in report.lines)
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected" / "a.jsonl").read_text().splitlines()]
    assert [each["key"] for each in rejected] == ["2", "3"]


def test_all_files_of_a_sample_stay_and_a_missing_json_is_made(tmp_path: Path, model: str) -> None:
    second = b'{"a": 1.5, "captions": ["a \xc3\xa9 \\ud800 cat"], "b": [1]}'
    members = [("1.txt", b"a dog"), ("1.jpg.txt", b"?"), ("1.png", picture_bytes(1)), ("1.cls", b"7"),
               ("2.json", second), ("2.png", picture_bytes(2))]  # fmt: skip
    write_tar(tmp_path / "web" / "0.tar", members)
    quiet(capfilt(tmp_path / "web", tmp_path / "out", model, decision=Decision(itm=0.0)))
    after = read_tar(tmp_path / "out" / "shards" / "0.tar")
    assert [name for name, _ in after] == ["1.txt", "1.jpg.txt", "1.png", "1.cls", "1.json", "2.json", "2.png"]
    assert [content for name, content in after if not name.endswith("json")] == [
        content for name, content in members if not name.endswith("json")
    ]
    made, kept = (json.loads(content) for name, content in after if name.endswith("json"))
    assert made["captions"][0] == "a dog"
    assert list(kept) == ["a", "captions", "b", "capfilt"]
    assert kept["captions"][0] == "a \u00e9 \ud800 cat"


def test_shards_of_the_same_name_do_not_meet(tmp_path: Path, model: str) -> None:
    for folder in ("x", "y"):
        write_noisy(tmp_path / folder, shards=1, pictures=2)
    run = capfilt(tmp_path / "x", tmp_path / "out", model, decision=Decision(itm=0.0))
    quiet(replace(run, shards=[*run.shards, *find_shards(tmp_path / "y")]))
    names = sorted(path.name for path in (tmp_path / "out" / "shards").iterdir())
    assert names == ["00000-web-0000.tar", "00001-web-0000.tar"]
    with pytest.raises(DataError, match="named twice"):
        quiet(replace(run, shards=[*run.shards, *run.shards], out=tmp_path / "twice"))


def test_a_page_that_needs_nothing_else(tmp_path: Path, model: str) -> None:
    write_tar(tmp_path / "web" / "0.tar", [*sample("<b>", 1, ["a <script> dog"]), *sample("2", 2, ["a cat", "a dog"])])
    run = capfilt(tmp_path / "web", tmp_path / "out", model, decision=Decision(keep_fraction=0.5), shown_pairs=1)
    quiet(run)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == page.count('class="pair"') > 0
    assert page.count("a &lt;script&gt; dog") <= 1
    assert page.count('class="pair"') <= 4
    for foreign in ("http:", "https:", "<script", "<link", 'src="/'):
        assert foreign not in page
    assert "<svg" in page


def test_out_below_a_file_cannot_be_written(tmp_path: Path, web: Path, model: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        quiet(capfilt(web, tmp_path / "file" / "out", model))


def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_after_it(
    tmp_path: Path, web: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = capfilt(web, tmp_path / "out", model)
    synced, real = [], os.fsync

    def full(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 9:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(InputError, match=r"web-\d+\.\w+ cannot be written: No space left on device.*run again"):
        quiet(run)
    monkeypatch.setattr(durable.os, "fsync", real)
    assert not (tmp_path / "out" / "report.json").exists()
    assert list((tmp_path / "out").rglob("*.part")) == []
    quiet(run)
    quiet(replace(run, out=tmp_path / "fresh"))
    assert outputs(tmp_path / "out") == outputs(tmp_path / "fresh")


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, web: Path, model: str) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"holds thesis\.tex and no run of capfilt"):
        quiet(capfilt(web, tmp_path, model))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"cannot read .*manifest\.json"):
        quiet(capfilt(web, tmp_path / "out", model))


def test_two_runs_at_once_in_one_folder(tmp_path: Path, web: Path, model: str) -> None:
    (tmp_path / "out").mkdir()
    with durable.locked(tmp_path / "out" / ".lock"), pytest.raises(InputError, match="another run writes to"):
        quiet(capfilt(web, tmp_path / "out", model))


def test_a_changed_shard_is_noticed_while_a_run_goes_on(tmp_path: Path, model: str) -> None:
    """The scores are there; the shard is replaced by one of the same size and time before it is written."""
    from openblip.bulk.capfilt.folder import RunFolder
    from openblip.bulk.capfilt.rule import Rule
    from openblip.bulk.capfilt.shard_worker import Task, write_kept

    web = write_noisy(tmp_path / "web", shards=1, pictures=2)
    quiet(capfilt(web, tmp_path / "out", model))
    write_tar(web / "web-0000.tar", [*sample("7", 7, ["a"]), *sample("8", 8, ["b"])])
    task = Task(0, "web-0000", web / "web-0000.tar", tmp_path / "out", Rule(), "x", 1)
    with pytest.raises(DataError, match="is not what it was when it was scored"):
        write_kept(task, Rule(), RunFolder(tmp_path / "out"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"workers": 0}, "workers=0"), ({"shown_pairs": -1}, "shown_pairs=-1")],
)
def test_options_out_of_range(tmp_path: Path, web: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        capfilt(web, tmp_path / "out", "mini", **changes)


def test_a_threshold_needs_a_filter(tmp_path: Path, web: Path) -> None:
    with pytest.raises(OptionError, match="needs a filter"):
        capfilt(web, tmp_path / "out", "mini", scoring=Scoring("mini", None), decision=Decision(itm=0.7))


def test_a_model_that_is_not_there_is_missed_before_anything_is_written(tmp_path: Path, web: Path) -> None:
    with pytest.raises(ModelNotFound):
        quiet(capfilt(web, tmp_path / "out", str(tmp_path / "nothing")))
    assert not (tmp_path / "out").exists()


def test_what_is_read_is_never_written_over(tmp_path: Path, model: str) -> None:
    """A run's shards stand in OUT/shards: noisy ones that stand there already would be replaced."""
    write_noisy(tmp_path / "shards", shards=1)
    before = {path: path.read_bytes() for path in (tmp_path / "shards").iterdir()}
    with pytest.raises(InputError, match="give another folder with --out"):
        quiet(capfilt(tmp_path / "shards", tmp_path, model))
    assert {path: path.read_bytes() for path in (tmp_path / "shards").iterdir()} == before
