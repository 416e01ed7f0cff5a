"""What the commands over many pictures share: their options, and a run with its lines, bar, summary and exit code.
Knows no task."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from openblip.cli.options import FAILED, Command, Loader, cores, with_all
from openblip.terminal import print_line, progress_bar, report

if TYPE_CHECKING:
    from openblip.bulk.items import Columns, Item
    from openblip.bulk.jobs import Job, Record
    from openblip.bulk.run import Compute
    from openblip.bulk.sidecars import Beside, Existing
    from openblip.pipeline import Blip

_LANES = 4  # as the service; more than one a core come to nothing

OUTPUT = click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Write to this file, in the form of its name: .jsonl, .csv, .tsv, .parquet; any other gets what is printed. "
    "What fails goes to NAME.errors.jsonl beside it. A run that was killed goes on when it is started again.",
)


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """How a run over many pictures is done. columns: of tables and shards; images: where paths in tables start. ray:
    the address of a cluster; workers: how many it is to use at most; ordered: whether results keep the order."""

    output: Path | None
    restart: bool
    columns: Columns
    images: Path | None
    ray: str | None
    workers: int
    ordered: bool

    def items(self, arguments: Sequence[str]) -> Iterable[Item]:
        """All that the arguments name: as a list, whose length is known, where that takes no reading. Raises
        OptionError where the output would replace what is read, also while they are taken."""
        from openblip.bulk.items import SHARD_SUFFIXES, TABLE_SUFFIXES, check_columns, find_items

        check_columns(self.columns, arguments)
        self.check_output(arguments)
        lines = (self._checked(line) for line in sys.stdin)
        items = self.spared(find_items(arguments, lines, self.columns, root=self.images, light=self.ray is not None))
        read = (*SHARD_SUFFIXES, *TABLE_SUFFIXES)
        return items if any(name == "-" or name.lower().endswith(read) for name in arguments) else list(items)

    def check_output(self, read: Iterable[str]) -> None:
        """Raise OptionError where the output would replace one of the files that are read, or a picture."""
        from openblip.bulk.outputs import check_output

        if self.output is not None and _is_file(self.output):
            check_output(self.output, [0 if name == "-" else name for name in read])

    def spared(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items. Raises OptionError at one that the output would replace."""
        from openblip.bulk.outputs import spared

        return spared(items, self.output) if self.output is not None and _is_file(self.output) else iter(items)

    def _checked(self, line: str) -> str:
        self.check_output([line.rstrip("\r\n")])
        return line


def bulk_options(own: str = "", about: str = "") -> Callable[[Command], Command]:
    """The options of a run; the command gets them as BulkOptions. own: what pictures may have for themselves, in a
    column."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_bulk(
            *arguments: Any,
            output: Path | None,
            restart: bool,
            image_column: str,
            key_column: str,
            images: Path | None,
            ray: str | None,
            workers: int | None,
            unordered: bool,
            own_column: str = "",
            **options: Any,
        ) -> Any:
            from openblip.bulk.items import Columns

            if ray is None and (workers is not None or unordered):
                raise click.UsageError(
                    "--workers and --unordered go with --ray: on one machine they would gain nothing"
                )
            columns = Columns(image_column, own_column, f"--{own}-column", key_column)
            return command(
                *arguments,
                bulk=BulkOptions(output, restart, columns, images, ray, workers or cores(), not unordered),
                **options,
            )

        own_option = click.option(f"--{own}-column", "own_column", default="", help=f"Of tables and shards: {about}")
        return with_all(
            OUTPUT,
            click.option("--restart", is_flag=True, help="Begin an --output that was not finished anew."),
            click.option(
                "--image-column", default="", help="Of tables: the column with a path, an address or the bytes."
            ),
            *([own_option] if own else []),
            click.option(
                "--key-column", default="", help="Of tables and shards: the column that results are named by."
            ),
            click.option(
                "--images", type=click.Path(path_type=Path), help="Where paths in tables start.  [default: the table]"
            ),
            click.option(
                "--ray", metavar="ADDRESS", help="Run on this Ray cluster; local starts one (needs the extra `bulk`)."
            ),
            click.option(
                "--workers",
                type=click.IntRange(min=1),
                help="With --ray: at most so many workers, of one CPU each.  [default: one a core of this machine]",
            ),
            click.option("--unordered", is_flag=True, help="With --ray: results as they come, in any order."),
        )(with_bulk)  # type: ignore[return-value]

    return decorate


def sidecar_options(command: Command) -> Command:
    """The options of files beside the photos; the command gets `beside`, a list of them."""

    @wraps(command)
    def with_sidecars(
        *arguments: Any,
        sidecar: bool,
        overwrite: bool,
        existing: Existing | None,
        prefix: str,
        suffix: str,
        trigger: tuple[str, ...],
        xmp: bool,
        **options: Any,
    ) -> Any:
        from openblip.bulk.sidecars import Beside, Wording

        if overwrite and existing not in (None, "replace"):
            raise click.UsageError(f"--overwrite is --existing replace, and --existing {existing} is given too")
        wording = Wording(prefix, suffix, trigger)
        if not sidecar and wording != Wording():
            raise click.UsageError("--prefix, --suffix and --trigger go with --sidecar")
        if not (sidecar or xmp) and (existing or overwrite):
            raise click.UsageError("--existing and --overwrite go with --sidecar or --xmp")
        rule: Existing = "replace" if overwrite else existing or "skip"
        beside: list[Beside] = [Beside(rule, wording)] if sidecar else []
        if xmp:
            from openblip.bulk.xmp import BesideXmp

            beside.append(BesideXmp(rule))
        return command(*arguments, beside=beside, **options)

    return with_all(
        click.option("--sidecar", is_flag=True, help="Write dog.txt beside dog.jpg instead of printing."),
        click.option(
            "--existing",
            type=click.Choice(["skip", "replace", "error"]),
            help="With --sidecar or --xmp: what becomes of a photo that has its file.  [default: skip]",
        ),
        click.option("--overwrite", is_flag=True, help="The same as --existing replace."),
        click.option("--prefix", default="", help="With --sidecar: put this before each text, as it is."),
        click.option("--suffix", default="", help="With --sidecar: put this behind each text, as it is."),
        click.option(
            "--trigger", multiple=True, help='With --sidecar: start each text with this word and ", "; repeatable.'
        ),
        click.option(
            "--xmp", is_flag=True, help="Write the description, or the tags as keywords, to dog.jpg.xmp beside dog.jpg."
        ),
    )(with_sidecars)  # type: ignore[return-value]


def run_bulk(
    job: Job,
    items: Iterable[Item],
    bulk: BulkOptions,
    load: Loader,
    as_json: bool = False,
    beside: Sequence[Beside] = (),
) -> int:
    """Do it, and return the exit code."""
    from openblip.bulk.formats import check_format, printed
    from openblip.bulk.run import BulkRun, Told

    output, stream = (bulk.output, None) if _is_file(bulk.output) else (None, bulk.output)
    if output is not None:
        check_format(output, job)
    at_work = _on_ray(job, bulk, load, output) if bulk.ray is not None else _here(job, load)
    total = len(items) if isinstance(items, list) else 0
    run = BulkRun(
        items,
        job,
        at_work.compute,
        at_work.chunk,
        output,
        {
            "checkpoints": at_work.checkpoints,
            "engine": load.engine,
            "precision": load.precision,
            "json": as_json,
            "columns": asdict(bulk.columns),
            "images": None if bulk.images is None else str(bulk.images),
        },
        as_json,
        beside,
        bulk.ordered,
        bulk.restart,
    )
    with ExitStack() as files:
        to: IO[str] = sys.stdout  # as it is now: a cluster takes it away for its own notes
        if stream is not None:
            to = files.enter_context(click.open_file(str(stream), "w", encoding="utf-8", lazy=True))
        progress = files.enter_context(progress_bar())

        def found(record: Record) -> None:
            if output is None and (as_json or stream is not None or not beside):
                for line in printed(job, record, as_json):
                    print_line(line, to)

        told = Told(found, report, lambda done: progress("pictures", done, total))
        counts = run.run(told, lambda: job.closing(at_work.blip()) if job.closes() else iter(()))
    if output is not None or beside:
        click.echo(f"openblip: {counts.summary()}", err=True)
    return FAILED if counts.failed else 0


@dataclass(frozen=True, slots=True)
class AtWork:
    """Who computes: how, in chunks of how many pictures, with which checkpoints; and a model of this process."""

    compute: Compute
    chunk: int
    checkpoints: dict[str, list[str]]
    blip: Callable[[], Blip]


def _here(job: Job, load: Loader) -> AtWork:
    from openblip.bulk.jobs import pictures_a_call
    from openblip.bulk.run import compute_here

    blip = load(lanes=_LANES)
    checkpoints = {str(task): [blip.part(task).name, blip.part(task).revision] for task in job.needed()}
    size = pictures_a_call(job, blip)
    return AtWork(compute_here(job, blip, size), size, checkpoints, lambda: blip)


def _on_ray(job: Job, bulk: BulkOptions, load: Loader, output: Path | None) -> AtWork:
    from openblip.bulk.on_ray import CHUNK, Model, checkpoints, compute_on_ray

    assert bulk.ray is not None
    model = Model(load.model, load.engine, load.precision)
    in_order = bulk.ordered and output is None  # an output is put in order when it is written
    compute = compute_on_ray(job, model, bulk.ray, bulk.workers, ordered=in_order)
    return AtWork(compute, CHUNK, checkpoints(load.model, job), load)


def _is_file(output: Path | None) -> bool:
    """Whether an output can be put in place whole: not where it is stdout, a pipe or a device."""
    return output is not None and str(output) != "-" and (output.is_file() or not output.exists())
