"""The figures of `compare` as Markdown tables. Works on the dictionary that becomes compare.json; measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.tasks import TASKS

WAYS = {"batch": "", "calls": "a call a text", "repeated": "picture repeated", "shared": "picture encoded once"}
OURS = ("openblip-f32", "openblip-bf16", "openblip-int8")
AIMS: dict[str, dict[str, float]] = {
    "beam3_1": {"f32": 5.0, "bf16": 2.5},
    "beam3_8": {"f32": 7.0, "bf16": 2.5},
    "questions_8": {"f32": 12.0, "bf16": 3.0},
    "match_64": {"bf16": 20.0, "bf16 used cleverly": 3.0},
}
"""How many times as fast as transformers we mean to be, by what it is held against."""
RIVALS: dict[str, tuple[str, tuple[str, ...]]] = {
    "f32": ("transformers-f32", ("batch", "calls")),
    "bf16": ("transformers-bf16", ("batch", "calls")),
    "bf16 used cleverly": ("transformers-bf16", ("batch", "repeated", "shared")),
}
"""What a ratio is taken to: of these ways the fastest."""
_PLAIN_MATCH = ("calls", "repeated")
"""For the re-ranking both are plain calls of the model."""


def markdown(result: dict[str, Any]) -> str:
    """All tables of a result, a section for each instruction set, and what it was measured with."""
    parts = [f"### Instruction set: {run['isa']}\n\n{_section(run)}" for run in result["runs"]]
    return "\n\n".join([*parts, _notes(result)]) + "\n"


def median_s(run: dict[str, Any], contender: str, task: str, ways: Iterable[str] | None = None) -> float | None:
    """The contender's time for a task in the fastest of these ways, or of all; None where it has none."""
    wanted = set(WAYS) if ways is None else set(ways)
    times = [
        statistics.median(entry["times_s"])
        for entry in run["measured"]
        if entry["contender"] == contender and entry["task"] == task and entry["way"] in wanted
    ]
    return min(times, default=None)


def ratio(run: dict[str, Any], ours: str, task: str, rival: str) -> float | None:
    """How many times as fast as transformers one of ours is, against one of `RIVALS`."""
    contender, ways = RIVALS[rival]
    if task == "match_64" and rival != "bf16 used cleverly":
        ways = _PLAIN_MATCH
    own, other = median_s(run, ours, task), median_s(run, contender, task, ways)
    return other / own if own and other else None


def _section(run: dict[str, Any]) -> str:
    tasks = [name for name in TASKS if any(entry["task"] == name for entry in run["measured"])]
    parts = [_latencies(run, tasks), _ratios(run, tasks), _floors(run, tasks), _resources(run), _remarks(run)]
    return "\n\n".join(part for part in parts if part)


def _latencies(run: dict[str, Any], tasks: Sequence[str]) -> str:
    """A row for each contender and way."""
    rows = []
    for name, entry in CONTENDERS.items():
        ways = dict.fromkeys(found["way"] for found in run["measured"] if found["contender"] == name)
        if not ways and any(failed[0] == name for failed in run["failed"]):
            rows.append([entry.title, *["–"] * len(tasks)])
        plain = [way for way in ways if way in ("batch", "calls")]
        if plain:
            rows.append([entry.title, *(_time(median_s(run, name, task, plain)) for task in tasks)])
        rows += [
            [f"{entry.title}, {WAYS[way]}", *(_time(median_s(run, name, task, [way])) for task in tasks)]
            for way in ways
            if way not in plain and not _ours(name)
        ]
        if _ours(name) and ways:
            rows = [row for row in rows if row[0] != entry.title]
            rows.append([entry.title, *(_time(median_s(run, name, task)) for task in tasks)])
    return _table(["milliseconds, median", *(TASKS[task].title for task in tasks)], rows)


def _ratios(run: dict[str, Any], tasks: Sequence[str]) -> str:
    """A row for each task and rival, a column for each of our precisions, the aim beside them."""
    ours = [name for name in OURS if any(entry["contender"] == name for entry in run["measured"])]
    rows = []
    for task in tasks:
        for rival in RIVALS:
            if rival == "bf16 used cleverly" and TASKS[task].texts < 2:
                continue
            ratios = [ratio(run, name, task, rival) for name in ours]
            if any(ratios):
                aim = AIMS.get(task, {}).get(rival)
                cells = ["–" if value is None else f"{value:.1f} x" for value in ratios]
                rows.append([TASKS[task].title, f"transformers {rival}", *cells, f"{aim:g} x" if aim else ""])
    if not rows:
        return ""
    return _table(["times as fast", "as", *(CONTENDERS[name].title for name in ours), "aim"], rows)


def _floors(run: dict[str, Any], tasks: Sequence[str]) -> str:
    """For each of our precisions the floor, and how many times as long we take."""
    floors: dict[str, dict[str, float]] = run.get("floors_s", {})
    ours = [name for name in OURS if CONTENDERS[name].precision in floors]
    rows = []
    for task in tasks:
        cells = []
        for name in ours:
            floor, own = floors[CONTENDERS[name].precision].get(task), median_s(run, name, task)
            cells.append(f"{floor * 1000:.0f} ms, {own / floor:.1f} x" if floor and own else "–")
        if any(cell != "–" for cell in cells):
            rows.append([TASKS[task].title, *cells])
    if not rows:
        return ""
    rates = run["rates"]
    measured = [f"{name} {rates[name] / 1e9:.0f} GFLOP/s" for name in floors if name in rates]
    table = _table(["floor, and ours as a multiple of it", *(CONTENDERS[name].title for name in ours)], rows)
    return f"{table}\n\nThe floor is from: {', '.join(measured)}, reading {rates['read'] / 1e9:.1f} GB/s."


def _resources(run: dict[str, Any]) -> str:
    """Throughput, memory, loading, and whether the results are the same."""
    rows = []
    for name, entry in CONTENDERS.items():
        loaded = {found["kind"]: found for found in run["loaded"] if found["contender"] == name}
        if loaded:
            rows.append(
                [
                    entry.title, *(_rate(run, name, task) for task in ("encode_8", "beam3_8")),
                    " / ".join(_peak(run, name, kind) for kind in loaded),
                    " / ".join(map(_loading, loaded.values())), _same(run, name),
                ]
            )  # fmt: skip
    kinds = " / ".join(dict.fromkeys(found["kind"] for found in run["loaded"]))
    header = [
        "", "photos a second, encoder", "photos a second, beam 3", f"peak memory, MiB ({kinds})",
        f"process start to first result, s, [with nothing kept] ({kinds})", "texts as transformers f32",
    ]  # fmt: skip
    return _table(header, rows)


def _remarks(run: dict[str, Any]) -> str:
    lines = [
        f"- {CONTENDERS[name].title.strip('*')}, {TASKS[what].title if what in TASKS else what}: {reason}"
        for name, what, reason in run["failed"]
    ]
    seen = [f"{name}: {value}" + ("" if run["obeyed"][name] else " (**not obeyed**)") for name, value in
            run["seen"].items()]  # fmt: skip
    return "\n".join([*lines, f"- Seen in use: {'; '.join(seen)}."])


def _notes(result: dict[str, Any]) -> str:
    facts = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return "\n".join(
        [
            f"{facts['cpu']} ({', '.join(facts['instructions'])}), {facts['cores']} cores, {facts['memory_gib']} GiB.",
            f"{result['threads']} threads; load before: {facts['load_before']}; {result['date']}.",
            f"Python {facts['python']}, {versions}.",
            f"Model: {result['model']}, random weights. Command: `{result['command']}`",
        ]
    )


def _peak(run: dict[str, Any], name: str, kind: str) -> str:
    peaks = [
        found["peak_mib"]
        for found in (*run["measured"], *run["loaded"])
        if found["contender"] == name and (found.get("kind") or TASKS[found["task"]].kind) == kind
    ]
    return f"{max(peaks):.0f}"


def _loading(found: dict[str, Any]) -> str:
    first = found.get("first_loading_s")
    return f"{found['loading_s']:.1f}" + (f" [{first:.1f}]" if first else "")


def _same(run: dict[str, Any], name: str) -> str:
    same, whole = dict[str, float](), dict[str, int]()
    for entry in run["measured"]:
        share = entry.get("agreement", {}).get("same_texts")
        if entry["contender"] == name and share is not None and entry["task"] not in whole:
            task = TASKS[entry["task"]]
            whole[task.name] = task.pictures * max(1, task.texts)
            same[task.name] = share * whole[task.name]
    return f"{sum(same.values()):.0f} of {sum(whole.values())}" if whole else "–"


def _rate(run: dict[str, Any], name: str, task: str) -> str:
    seconds = median_s(run, name, task)
    return f"{TASKS[task].pictures / seconds:.1f}" if seconds else "–"


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:.0f}"


def _ours(name: str) -> bool:
    return name in OURS


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
