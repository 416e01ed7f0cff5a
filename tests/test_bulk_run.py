"""Items to files: chunks, the journal, what a run that was killed leaves behind, and the forms of an output."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openblip.bulk.formats import check_format, errors_path
from openblip.bulk.items import Item
from openblip.bulk.jobs import CaptionJob, EmbedJob, MatchJob, Record
from openblip.bulk.journal import Journal, journal_path
from openblip.bulk.run import BulkRun, Chunk, Counts, Told, chunks, compute_here
from openblip.bulk.sidecars import Beside, Wording
from openblip.bulk.xmp import BesideXmp
from openblip.errors import ImageError, InputError, OptionError
from openblip.pipeline import Blip, Outcome

SIZE = 4


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def caption(text: str) -> dict[str, Any]:
    return {"text": text, "log_probability": -1.5, "probability": 0.1 + len(text) / 1000, "tokens": [], "model": "m"}


def items(count: int, folder: Path = Path("album")) -> list[Item]:
    """Every seventh cannot be used."""
    return [
        Item(f"{place}.jpg", error=ImageError(f"{place}.jpg is empty"))
        if place % 7 == 3
        else Item(str(folder / f"{place}.jpg"), folder / f"{place}.jpg")
        for place in range(count)
    ]


def work(
    found: Iterator[Chunk], calls: list[str], dies_after: int | None = None
) -> Iterator[tuple[Chunk, list[Record]]]:
    """Two chunks ahead, as lanes are; every fifth picture turns out to be broken."""
    ahead = list(islice(found, 2))
    done = 0
    while ahead:
        chunk, *ahead = [*ahead, *islice(found, 1)]
        if done == dies_after:
            raise Killed
        records: list[Record] = []
        for item in chunk.todo:
            calls.append(item.source)
            broken = int(Path(item.source).stem) % 5 == 1
            text = f'a dog, "{Path(item.source).stem}"\u00e9'
            records.append(
                {"source": item.source, **({"error": "cut short"} if broken else {"captions": [caption(text)]})}
            )
        yield chunk, records
        done += 1


def run(
    output: Path | None, count: int = 30, dies_after: int | None = None, beside: Sequence[Beside] = (), **changes: Any
) -> tuple[Counts, list[str], list[str]]:
    """What became of it, what was worked on and which errors were told."""
    calls: list[str] = []
    errors: list[str] = []
    values: dict[str, Any] = {"items": items(count), "job": CaptionJob(), "settings": {"model": "m"}, **changes}
    bulk = BulkRun(
        compute=lambda found: work(found, calls, dies_after), chunk=SIZE, output=output, beside=beside, **values
    )
    return bulk.run(Told(error=lambda error: errors.append(str(error)))), calls, errors


def test_chunks_hold_as_many_to_do_and_any_number_of_others() -> None:
    found = list(chunks(items(30), SIZE))
    assert [len(chunk.todo) for chunk in found] == [4, 4, 4, 4, 4, 4, 2]
    assert [item.source for chunk in found for item in chunk.items] == [item.source for item in items(30)]
    assert [chunk.items[0].source for chunk in found] == [items(30)[chunk.place].source for chunk in found]


def test_an_output_its_errors_and_the_counts(tmp_path: Path) -> None:
    output = tmp_path / "captions.jsonl"
    counts, calls, errors = run(output)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    failures = [json.loads(line) for line in errors_path(output).read_text().splitlines()]
    assert errors_path(output) == tmp_path / "captions.jsonl.errors.jsonl"
    assert (counts.done, counts.failed, counts.skipped, counts.again) == (len(lines), len(failures), 0, 0)
    assert len(lines) + len(failures) == 30
    assert [failure["error"] for failure in failures] == errors
    assert [int(Path(line["source"]).stem) for line in lines] == [n for n in range(30) if n % 7 != 3 and n % 5 != 1]
    assert len(calls) == len(set(calls)) == 26
    assert sorted(path.name for path in tmp_path.iterdir()) == ["captions.jsonl", "captions.jsonl.errors.jsonl"]
    run(output, count=1)
    assert not errors_path(output).exists(), "of an earlier run"
    assert errors_path(tmp_path / "captions.csv") != errors_path(output)


@pytest.mark.parametrize("form", ["captions.jsonl", "captions.csv", "captions.tsv", "captions.parquet", "captions.txt"])
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dies_after=st.integers(0, 6), again=st.integers(0, 6), cut=st.integers(0, 4000))
def test_killed_anywhere_it_ends_as_one_that_was_not(
    tmp_path_factory: pytest.TempPathFactory, form: str, dies_after: int, again: int, cut: int
) -> None:
    """cut: bytes that the journal lost, as when the power goes; the first run may die again and again."""
    folder = tmp_path_factory.mktemp("killed")
    whole, killed = folder / "whole" / form, folder / "killed" / form
    whole.parent.mkdir()
    killed.parent.mkdir()
    run(whole)
    for deaths in (dies_after, again):
        with suppress(Killed):
            run(killed, dies_after=deaths)
        if (journal := journal_path(killed)).exists():
            assert not killed.exists()
            journal.write_bytes(journal.read_bytes()[: max(0, journal.stat().st_size - cut)])
    counts, calls, errors = run(killed)
    assert errors_path(killed).read_bytes() == errors_path(whole).read_bytes()
    if form.endswith(".parquet"):
        assert pyarrow.parquet.read_table(killed).equals(pyarrow.parquet.read_table(whole))
    else:
        assert killed.read_bytes() == whole.read_bytes()
    assert counts.done + counts.failed == 30
    assert len(errors) == counts.failed
    assert len(calls) == len(set(calls)) <= 26
    assert not journal_path(killed).exists()


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path / "c.csv", dies_after=3)
    counts, calls, _ = run(tmp_path / "c.csv")
    assert len(calls) == 26 - 3 * SIZE
    assert counts.again == len([item for chunk in islice(chunks(items(30), SIZE), 3) for item in chunk.items])


def test_other_settings_are_refused_with_the_remedy(tmp_path: Path) -> None:
    output = tmp_path / "c.jsonl"
    with pytest.raises(Killed):
        run(output, dies_after=2)
    with pytest.raises(InputError, match=r"(?s)prompt was \"\", is \"a\".*--restart"):
        run(output, job=CaptionJob("a"))
    with pytest.raises(InputError, match=r"model was \"m\", is \"other\""):
        run(output, settings={"model": "other"})
    with pytest.raises(InputError, match=r"c\.jsonl\.part holds a run over other pictures: .*0\.jpg stood where"):
        run(output, items=items(30)[1:])
    with pytest.raises(InputError, match=r"beside\.caption file was null, is {\"existing\": \"skip\""):
        run(output, beside=[Beside()])
    counts, calls, _ = run(output, job=CaptionJob("a"), restart=True)
    assert (counts.again, len(calls)) == (0, 26)
    journal_path(output).write_text('{"not": "ours"}\n')
    with pytest.raises(InputError, match="is no journal of openblip"):
        run(output)


@pytest.mark.parametrize("left", [range(27), range(6), range(3), ()])
def test_fewer_pictures_are_other_pictures(left: Sequence[int], tmp_path: Path) -> None:
    """Also where the journal's last chunk is cut, or whole chunks are not met."""
    output = tmp_path / "c.jsonl"
    found = items(30)
    with pytest.raises(Killed):
        run(output, dies_after=6)
    with pytest.raises(
        InputError, match=r"holds a run over other pictures: .*\.jpg is not among these: give --restart"
    ):
        run(output, items=[found[place] for place in left])
    assert not output.exists()


def test_what_is_asked_of_each_alone_binds_the_journal(tmp_path: Path) -> None:
    def own(text: str) -> list[Item]:
        return [replace(item, own=(text,)) for item in items(30)]

    output = tmp_path / "c.jsonl"
    with pytest.raises(Killed):
        run(output, dies_after=2, items=own("a"))
    for other in (own("b"), items(30)):
        with pytest.raises(InputError, match=r"what is asked of .*0\.jpg alone was another: give --restart"):
            run(output, items=other)
    assert run(output, items=own("a"))[0].again == 9


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path / "c.jsonl", {}), pytest.raises(InputError, match=r"another run writes .*c\.jsonl"):
        run(tmp_path / "c.jsonl")


def test_an_output_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"c\.jsonl\.part cannot be written"):
        run(tmp_path / "no" / "c.jsonl", dies_after=0)


def test_in_any_order_each_picture_is_there_once(tmp_path: Path) -> None:
    def backwards(found: Iterator[Chunk]) -> Iterator[tuple[Chunk, list[Record]]]:
        return iter(list(work(found, []))[::-1])

    for ordered in (True, False):
        bulk = BulkRun(items(30), CaptionJob(), backwards, SIZE, tmp_path / f"{ordered}.jsonl", ordered=ordered)
        bulk.run(Told())
    run(tmp_path / "c.jsonl")
    first, second, whole = ((tmp_path / name).read_text() for name in ("True.jsonl", "False.jsonl", "c.jsonl"))
    assert first == whole != second
    assert sorted(second.splitlines()) == sorted(whole.splitlines())


# Files beside the photos


def test_sidecars_after_a_kill(tmp_path: Path) -> None:
    """Also those of the chunk that was the last to be done: as if they had not been written yet."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        found = items(30, tmp_path / name)
        if name == "killed":
            with pytest.raises(Killed):
                run(tmp_path / "killed.jsonl", dies_after=4, beside=[Beside()], items=found)
            last = sorted(tmp_path.glob("killed/*.txt"), key=lambda path: int(path.stem))[-2:]
            for path in last:
                path.unlink()
        counts, _, _ = run(tmp_path / f"{name}.jsonl", beside=[Beside()], items=found)
        assert counts.skipped == 0
    texts = [{path.name: path.read_text() for path in (tmp_path / name).iterdir()} for name in ("whole", "killed")]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 20
    lines = [(tmp_path / f"{name}.jsonl").read_text().replace(name, "") for name in ("whole", "killed")]
    assert lines[0] == lines[1]


def test_what_a_caption_is_wrapped_in(tmp_path: Path) -> None:
    wording = Wording("photo, ", " --high", ("ohwx", "man"))
    run(None, count=1, beside=[Beside(wording=wording)], items=items(1, tmp_path))
    assert (tmp_path / "0.txt").read_text() == 'photo, ohwx, man, a dog, "0"\u00e9 --high\n'
    assert Wording().of("a dog") == "a dog"


@pytest.mark.parametrize(
    ("existing", "counted", "content"),
    [("skip", (1, 0, 1), "mine"), ("replace", (2, 0, 0), 'a dog, "0"\u00e9\n'), ("error", (1, 1, 0), "mine")],
)
def test_a_photo_that_has_its_file(existing: Any, counted: tuple[int, int, int], content: str, tmp_path: Path) -> None:
    (tmp_path / "0.txt").write_text("mine")
    counts, calls, errors = run(None, beside=[Beside(existing)], items=[items(1, tmp_path)[0], items(3, tmp_path)[2]])
    assert (counts.done, counts.failed, counts.skipped) == counted
    assert (tmp_path / "0.txt").read_text() == content
    assert len(calls) == counts.done
    assert all("0.txt is there already: give --existing skip" in error for error in errors)


def test_a_picture_without_a_folder_has_no_sidecar(tmp_path: Path) -> None:
    found = [Item("x.tar/0.jpg", b"..."), Item("http://h/1.jpg", "http://h/1.jpg")]
    counts, _, errors = run(None, beside=[Beside()], items=found)
    assert counts.failed == 2
    assert "within a shard or table has no folder" in errors[0]


def test_a_sidecar_that_cannot_be_written(tmp_path: Path) -> None:
    """Its picture stands in the output and in the errors too; a run that goes on tries it again."""
    found, output = items(14, tmp_path / "album"), tmp_path / "c.jsonl"
    (tmp_path / "album").mkdir()
    blocked = [tmp_path / "album" / f".{place}.txt..part" for place in (0, 2, 8)]
    for path in blocked:
        path.mkdir()
    with pytest.raises(Killed):
        run(output, dies_after=2, beside=[Beside("replace")], items=found)
    blocked[0].rmdir()
    (tmp_path / "album" / "4.txt").write_text("mine, since then")
    counts, _, errors = run(output, beside=[Beside("replace")], items=found)
    assert (counts.done, counts.failed) == (7, 7)
    assert (tmp_path / "album" / "0.txt").read_text() == 'a dog, "0"\u00e9\n'
    failures = [json.loads(line) for line in errors_path(output).read_text().splitlines()]
    assert [failure["error"] for failure in failures] == errors
    assert [Path(failure["source"]).stem for failure in failures] == ["1", "2", "3", "6", "8", "10", "11"]
    assert failures[1]["image"] == str(tmp_path / "album" / "2.jpg")
    assert "image" not in failures[2], "it has none"
    assert "2.txt cannot be written" in errors[1]
    lines = [json.loads(line)["source"] for line in output.read_text().splitlines()]
    assert [Path(line).stem for line in lines] == ["0", "2", "4", "5", "7", "8", "9", "12", "13"]
    assert (tmp_path / "album" / "4.txt").read_text() == "mine, since then"


@pytest.mark.parametrize("name", ["n" * 300 + ".jpg", "nul\0.jpg"])
@pytest.mark.parametrize("kind", [Beside, BesideXmp])
def test_a_name_that_no_file_can_have_ends_nothing(name: str, kind: type[Beside], tmp_path: Path) -> None:
    found = [Item("a", tmp_path / name), Item("b", Path()), items(1, tmp_path)[0]]
    counts, calls, errors = run(None, beside=[kind()], items=found)
    assert (counts.done, counts.failed, len(errors)) == (1, 2, 2)
    assert len(calls) == 1


def test_settled_pictures_wait_for_no_others() -> None:
    """Chunks end, and hold no bytes, where all pictures are settled; others still come in full batches after them."""
    shard = [Item(f"{n}", b"...") for n in range(1000)]
    found = list(chunks(shard, SIZE, beside=[Beside("error")]))
    assert [len(chunk.items) for chunk in found] == [200] * 5
    assert all(item.picture is None for chunk in found for item in chunk.items)


def test_after_a_chunk_that_is_not_full_a_batch_begins() -> None:
    """As it does in a run that was killed there and goes on."""
    calls: list[list[str]] = []

    class Listed(CaptionJob):
        def outcomes(self, blip: Blip, items: Iterable[Item]) -> Iterator[Outcome]:
            calls.append([])
            for item in items:
                calls[-1].append(item.source)
                yield Outcome(item.source)

    def chunk(place: int, todo: int, settled: int = 0) -> Chunk:
        found = [Item(str(n), Path(str(n))) for n in range(place, place + todo + settled)]
        return Chunk(place, found, [None] * todo + [{"source": "settled"}] * settled)

    given = [chunk(0, 4), chunk(4, 4, 1), chunk(9, 2, 198), chunk(209, 0, 200), chunk(409, 4), chunk(413, 1)]
    compute = compute_here(Listed(), cast("Blip", None), 4)
    found = list(compute(iter(given)))
    assert [each for each, _ in found] == given
    assert [[record["source"] for record in records] for _, records in found] == [
        [item.source for item in each.todo] for each in given
    ]
    assert [len(call) for call in calls] == [10, 5]


# Forms


def test_tables_have_a_row_a_result(tmp_path: Path) -> None:
    def several(found: Iterator[Chunk]) -> Iterator[tuple[Chunk, list[Record]]]:
        for chunk in found:
            yield (
                chunk,
                [{"source": each.source, "captions": [caption("a, b"), caption('"c"\n')]} for each in chunk.todo],
            )

    for form in ("csv", "parquet"):
        BulkRun([Item("\udcff.jpg", Path("x"))], CaptionJob(), several, SIZE, tmp_path / f"c.{form}").run(Told())
    with (tmp_path / "c.csv").open(newline="", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert [row["caption"] for row in rows] == ["a, b", '"c"\n']
    assert rows[0]["source"] == "\udcff.jpg"
    assert float(rows[0]["probability"]) == caption("a, b")["probability"]
    table = pyarrow.parquet.read_table(tmp_path / "c.parquet").to_pylist()
    assert [row["caption"] for row in table] == ["a, b", '"c"\n']
    assert table[0]["source"] == "\\udcff.jpg"
    assert list(table[0]) == ["source", "caption", "probability", "log_probability", "model"]


def test_vectors_in_every_form(tmp_path: Path) -> None:
    vector = [0.25, -0.5, 0.125]

    def embedded(found: Iterator[Chunk]) -> Iterator[tuple[Chunk, list[Record]]]:
        for chunk in found:
            yield chunk, [{"source": each.source, "vector": vector, "model": "m"} for each in chunk.todo]

    closing = {"text": "a dog", "vector": vector, "model": "m"}
    for form in ("npz", "csv", "parquet", "jsonl"):
        BulkRun([Item("a.jpg", Path("x"))], EmbedJob(), embedded, SIZE, tmp_path / f"v.{form}").run(
            Told(), lambda: iter([closing])
        )
    with np.load(tmp_path / "v.npz") as arrays:
        assert arrays["sources"].tolist() == ["a.jpg"]
        assert arrays["text_vectors"].tolist() == [vector]
    rows = list(csv.DictReader((tmp_path / "v.csv").open(newline="")))
    assert [(row["source"], row["text"], json.loads(row["vector"])) for row in rows] == [
        ("a.jpg", "", vector),
        ("", "a dog", vector),
    ]
    table = pyarrow.parquet.read_table(tmp_path / "v.parquet")
    assert table.schema.field("vector").type == pyarrow.list_(pyarrow.float32())
    assert table.to_pylist()[1] == {"source": None, **closing}
    assert json.loads((tmp_path / "v.jsonl").read_text().splitlines()[1]) == closing


def test_arrays_are_for_embeddings() -> None:
    check_format(Path("v.npz"), EmbedJob())
    with pytest.raises(OptionError, match=r"v\.npz is for embeddings|\.npz is for embeddings"):
        check_format(Path("v.npz"), MatchJob(("a",)))
