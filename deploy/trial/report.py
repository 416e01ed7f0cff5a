"""The results of a trial as Markdown. Works on the dictionary that becomes results.json; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.pages import number, percent, table
from deploy.trial.compare import off


def markdown(result: Mapping[str, Any]) -> str:
    """All that was run."""
    parts = [_compared(result.get("compare")), _drilled(result), _notes(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _compared(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    header = [
        "load", "offered, 1/s", "pace", "captions/s: measured", "simulated", "off", "p99, ms: measured",
        "95% of chance", "simulated", "off", "refused: measured", "simulated", "off", "cores: tasks", "client",
        "balancer, Redis",
    ]  # fmt: skip
    rows = []
    for row in found["rows"]:
        real, simulated, cores = row["measured"], row["simulated"], row["cores_busy"]
        saturated = row["load"] == "saturation"
        low, high = real["p99_range_ms"] or (None, None)
        rows.append([
            row["load"], number(row["offered"], 1), number(row["pace"]), number(real["rate"], 1),
            number(simulated["rate"], 1), _off(off(row, "rate")), number(real["p99_ms"], 0),
            f"{number(low, 0)} to {number(high, 0)}", number(simulated["p99_ms"], 0), _off(off(row, "p99_ms")),
            percent(real["refused"]), percent(simulated["refused"]), _off(off(row, "refused")) if saturated else "",
            number(cores["tasks"]), number(cores["client"]),
            number(cores["balancer"] + sum(value for name, value in cores.items() if name.startswith("redis"))),
        ])  # fmt: skip
    how = "\n".join(
        (
            f"{found['tasks']} tasks of one thread, each pinned to a core of its own; {found['seconds']:g} s a row,",
            "requests at random times (Poisson), every picture new. 100% is what was answered at saturation,",
            f"{found['capacity']:.1f} captions a second. The client, the balancer and Redis run on the same two cores,",
            "unpinned: what each of them used is in the last columns; it was measured for a request before",
            f"({found['outside_ms']:.2f} ms), and is simulated as work on the cores of the tasks. Pace: how many",
            "times as long as when the curves were measured work took, as the machine's speed sways: at the shares by",
            "the CPU time of the tasks for a caption, at saturation by the engine alone before and after the row. The",
            "times of the simulation are multiplied by it.",
        )
    )
    return f"### Simulated and measured\n\n{table(header, rows)}\n\n{how}"


def _drilled(result: Mapping[str, Any]) -> str:
    """A row a drill."""
    drills = result.get("drills", {})
    if not drills:
        return ""
    header = ["", "seconds", "requests", "refused (429)", "failed first tries", "lost", "p50, ms", "p99, ms",
              "longest, ms", "recovery"]  # fmt: skip
    rows = [
        [
            found["title"], number(found["seconds"], 0), str(found["asked"]), str(found["refused"]),
            str(found["broken"]), f"**{found['lost']}**", number(found["times_ms"].get("p50"), 0),
            number(found["times_ms"].get("p99"), 0), number(found["longest_ms"], 0), recovery(found),
        ]
        for found in drills.values()
    ]  # fmt: skip
    return f"### Load and failures\n\n{table(header, rows)}"


def recovery(found: Mapping[str, Any]) -> str:
    """What a drill says about it, in words."""
    words = []
    if "took_s" in found:
        words.append(f"all replaced in {found['took_s']:.1f} s")
    if "noticed_s" in found:
        words.append(f"noticed after {found['noticed_s']:.1f} s")
    if "replaced_s" in found:
        words.append(f"replaced after {', '.join(f'{seconds:.1f}' for seconds in found['replaced_s'])} s")
    if "last_failed_try_s" in found:
        last = [seconds for seconds in found["last_failed_try_s"] if seconds is not None]
        words.append(f"the last failed try was sent {max(last):.1f} s after" if last else "no try failed")
    if "cache_back_s" in found:
        back = found["cache_back_s"]
        words.append("the cache did not come back" if back is None else f"the cache again after {back:.1f} s")
    if "p99_slow_ms" in found:
        words.append(f"p99 {number(found['p99_before_ms'], 0)} ms before, {number(found['p99_slow_ms'], 0)} meanwhile")
    if "recovered_s" in found:
        seconds = found["recovered_s"]
        words.append("not as before in the end" if seconds is None else f"as before after {seconds:.0f} s")
    if found.get("memory_mib"):
        first, last = found["memory_mib"][0][1], found["memory_mib"][-1][1]
        words.append(f"memory {sum(first.values()):.0f} to {sum(last.values()):.0f} MiB")
    return "; ".join(words) or "–"


def _notes(result: Mapping[str, Any]) -> str:
    """Where and of what, once for all runs for which it is the same; below it the runs, with date and load before."""
    places: dict[str, dict[str, None]] = {}
    for run in result["runs"].values():
        places.setdefault(_place(run), {})[_run(run)] = None
    lines = [f"{place}\n\n{chr(10).join(runs)}" for place, runs in places.items()]
    lines += [f"Failed: {name}: {why}" for name, why in result.get("failed", {}).items()]
    return "\n\n".join(lines)


def _place(run: Mapping[str, Any]) -> str:
    facts = run["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    what = f"{facts['cpu']} ({', '.join(facts['instructions'])}), {facts['cores']} cores"
    return f"{what}. Model: {run['model']}. {versions}."


def _run(run: Mapping[str, Any]) -> str:
    if run["date"] is None:
        return f"- `{run['command']}`: date and load before were not kept"
    return f"- `{run['command']}`: {run['date']}, load before: {run['machine']['load_before']:g}"


def _off(share: float | None) -> str:
    return "–" if share is None else f"{share:+.0%}"
