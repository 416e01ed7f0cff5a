"""The figures of a load test as Markdown. Works on the dictionary that becomes load.json; measures nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
PARTS = ("uncached", "cached", "rivals", "mix")
_HEAD = [
    "clients", "requests/s", "p50, ms", "p95, ms", "p99, ms", "refused (429)", "errors", "cores busy: server",
    "cores busy: client",
]  # fmt: skip


def markdown(result: Mapping[str, Any]) -> str:
    """All tables of a result, and what it was measured with. Parts that were not run are left out."""
    parts = [
        _uncached(result.get("uncached")), _cached(result.get("cached", [])), _rivals(result.get("rivals", [])),
        _mix(result.get("mix")), _notes(result),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def put_into(page: Path, tables: str) -> None:
    """Replace what stands between the marks of a page. Raises ValueError where they are missing."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{page} has no place for the figures: put {BEGIN} and {END} into it")
    page.write_text(pattern.sub(lambda _: f"{BEGIN}\n\n{tables.strip()}\n\n{END}", text), encoding="utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])


def _uncached(entry: Mapping[str, Any] | None) -> str:
    """The share is that of the engine's best round."""
    if not entry:
        return ""
    rate, best = entry["summary"]["rate"], max(entry["engine"])
    rounds = ", ".join(f"{engine:.1f}" for engine in entry["engine"])
    alone = f"The engine alone, decoding included, before and after: **{best:.1f} pictures/s** (best of {rounds})."
    share = f"**{rate:.1f} captions/s**, {rate / best:.0%} of the engine alone"
    clients = f"{entry['users']} clients, {entry['summary']['seconds']:g} s"
    lines = [
        "### Uncached captions",
        alone,
        f"The service, {clients}: {share}. {_memory(entry)}",
        table(_HEAD, [_cells(entry)]),
    ]
    return "\n\n".join(lines)


def _cached(entries: Sequence[Mapping[str, Any]]) -> str:
    if not entries:
        return ""
    header = ["cache in", *_HEAD, "cores busy: redis", "requests/s a core of the server", "answers from the cache"]
    rows = [
        [
            entry["cache"], *_cells(entry), _number(entry["cpu"].get("redis")),
            _number(_ratio(entry["summary"]["rate"], entry["cpu"]["server"]), 0), f"{entry['summary']['cached']:.1%}",
        ]
        for entry in entries
    ]  # fmt: skip
    return f"### Cached captions of 500 kB photos\n\n{table(header, rows)}"


def _rivals(entries: Sequence[Mapping[str, Any]]) -> str:
    """Ratios are to each rival that was measured."""
    measured = [entry for entry in entries if "failed" not in entry]
    if not measured:
        return ""
    others = [entry for entry in measured if not _ours(entry)]
    header = ["", "captions/s", *(f"beside ({letter})" for letter, _ in zip("ab", others, strict=False))]
    header += ["p50, s", "p99, s", "errors", "cores busy: server", "client", "memory, MiB", "captions as the first"]
    rows = []
    for entry in measured:
        rate = entry["summary"]["rate"]
        ratios = [f"{_ratio(rate, other['summary']['rate']) or 0:.1f} x" for other in others]
        letter = {id(other): f"({mark}) " for mark, other in zip("ab", others, strict=False)}.get(id(entry), "")
        milliseconds = entry["summary"]["percentiles_ms"]
        times = [_number(milliseconds[name] / 1000 if name in milliseconds else None) for name in ("p50", "p99")]
        rows.append(
            [
                f"{letter}{entry['title']}", f"**{rate:.2f}**", *ratios, *times, _errors(entry),
                _number(entry["cpu"]["server"]), _number(entry["cpu"]["client"]),
                f"{entry['rss_mib'].get('most', 0):.0f}", f"{entry['same_captions']} of {entry['compared']}",
            ]
        )  # fmt: skip
    failed = [f"- {entry['title']}: {entry['failed']}" for entry in entries if "failed" in entry]
    return "\n\n".join(
        [f"### Full-size weights, {measured[0]['users']} clients, uncached", table(header, rows), *failed]
    )


def _mix(entry: Mapping[str, Any] | None) -> str:
    if not entry:
        return ""
    hits = "" if entry["hit_rate"] is None else f"Of the cache's lookups {entry['hit_rate']:.0%} spared a computation."
    rows = [[*_cells(step), f"{step['summary']['cached']:.0%}"] for step in entry["steps"]]
    return f"### The realistic mix\n\n{table([*_HEAD, 'answers from the cache'], rows)}\n\n{hits}".rstrip()


def _cells(entry: Mapping[str, Any]) -> list[str]:
    """As _HEAD."""
    found = entry["summary"]
    times = [_number(found["percentiles_ms"].get(name)) for name in ("p50", "p95", "p99")]
    cpu = [_number(entry["cpu"].get(name)) for name in ("server", "client")]
    return [str(entry["users"]), f"**{found['rate']:.1f}**", *times, str(found["refused"]), _errors(entry), *cpu]


def _memory(entry: Mapping[str, Any]) -> str:
    rss = entry["rss_mib"]
    if not rss:
        return ""
    begin, end, most = (f"{rss[name]:.0f}" for name in ("begin", "end", "most"))
    return f"Its memory: {begin} MiB at the window's begin, {end} at its end, {most} at most."


def _errors(entry: Mapping[str, Any]) -> str:
    errors = entry["summary"]["errors"]
    return ", ".join(f"{count} x {status}" for status, count in errors.items()) or "0"


def _notes(result: Mapping[str, Any]) -> str:
    facts = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    precision = result["precision"] or "the precision that it chooses"
    return "\n".join(
        [
            f"{facts['cpu']} ({', '.join(facts['instructions'])}), {facts['cores']} cores, {facts['memory_gib']} GiB;",
            f"clients and servers share them. {result['threads']} threads a server; load before:",
            f"{facts['load_before']}; {result['date']}. Python {facts['python']}, {versions}.",
            f"{result['photos']} photos; model: {result['model']}, {precision}; full-size: BLIP {result['base']},",
            f"random weights. Command: `{result['command']}`",
            *(f"Failed: {part}: {reason}" for part, reason in result.get("failed", {}).items()),
        ]
    )


def _ours(entry: Mapping[str, Any]) -> bool:
    return str(entry["name"]).startswith("openblip")


def _ratio(value: float, other: float) -> float | None:
    return value / other if other else None


def _number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.{digits}f}"
