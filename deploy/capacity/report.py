"""A capacity plan as Markdown. Works on the dictionary that becomes plan.json; simulates nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deploy.pages import number, percent, table


def markdown(result: Mapping[str, Any]) -> str:
    """All tables."""
    parts = [
        _curves(result), _one_task(result["one_task"]), _bounds(result), _policies(result), _days(result),
        _internet(result["internet"]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _curves(result: Mapping[str, Any]) -> str:
    curves, task = result["curves"], result["task"]
    sizes = sorted(curves["batch_s"], key=int)
    header = ["pictures of a batch", *map(str, sizes)]
    times = ["seconds", *(number(curves["batch_s"][size], 3) for size in sizes)]
    each = ["captions/s", *(number(int(size) / curves["batch_s"][size], 2) for size in sizes)]
    machine = curves["notes"].get("machine", {})
    notes, cached = curves["notes"], f"{curves['cached_s'] * 1000:.1f} ms"
    by_hand = notes.get("cached_s", "")
    facts = [
        f"Model: {curves['model']}; {curves['threads']} threads of {machine.get('cpu', 'a processor')}.",
        f"Reading a picture: {curves['read_s'] * 1000:.1f} ms of a core; the rest of a request:",
        f"{curves['front_s'] * 1000:.1f} ms; {'' if by_hand else f'one from the cache: {cached}; '}one that is",
        f"refused at once: {curves['refused_s'] * 1000:.2f} ms. A process is ready {curves['start_s']:.1f} s after its",
        f"start. Measured by `{notes.get('command', '')}` on {notes.get('date', '')}.",
        *([f"Not measured by it, but set by hand: a request from the cache, {cached} ({by_hand})."] if by_hand else []),
        f"A task of {task['vcpus']:g} vCPUs and {task['memory_gb']:g} GB does at most {task['rate']:.2f} uncached",
        f"captions a second, and costs ${task['dollars_hour']:.4f} an hour (prices of {task['prices_on']}, us-east-1).",
    ]
    return f"### What a task takes\n\n{table(header, [times, each])}\n\n{chr(10).join(facts)}"


def _one_task(rows: Sequence[Mapping[str, Any]]) -> str:
    header = ["load", "captions/s", "pictures a batch", "p50, s", "p99, s", "refused", "$ for 1,000"]
    cells = [
        [percent(row["share"], 0), number(row["rate"]), number(row["pictures_a_batch"], 1), number(row["p50_s"]),
         number(row["p99_s"]), percent(row["refused"]), number(row["dollars_per_1000"], 4)]
        for row in rows
    ]  # fmt: skip
    return f"### One task, every picture new\n\n{table(header, cells)}"


def _bounds(result: Mapping[str, Any]) -> str:
    """Rate and p99 under overload, by the two settings."""
    rows = result["bounds"]
    queues = sorted({row["max_queue"] for row in rows})
    header = ["OPENBLIP_MAX_BATCH", *(f"OPENBLIP_MAX_QUEUE {queue}" for queue in queues)]
    cells = [
        [str(batch), *(
            f"{number(row['rate'])}/s, p99 {number(row['p99_s'], 1)} s"
            + (f", {percent(row['failed'])} too late" if row["failed"] > 0.0005 else "")
            for queue in queues for row in rows if (row["max_batch"], row["max_queue"]) == (batch, queue)
        )]
        for batch in sorted({row["max_batch"] for row in rows})
    ]  # fmt: skip
    size = result["size"]
    chosen = (
        f"One task that is asked for half as much again as it can do; what it cannot is refused. The plan takes "
        f"`OPENBLIP_MAX_BATCH={size['max_batch']}`, `OPENBLIP_MAX_QUEUE={size['max_queue']}` and "
        f"`OPENBLIP_MAX_REQUESTS={size['max_requests']}`."
    )
    return f"### How long a queue\n\n{table(header, cells)}\n\n{chosen}"


def _policies(result: Mapping[str, Any]) -> str:
    header = ["requests a minute", "target in flight", "minimum", "usual p99, s", "usual refused",
              "usual $ for 1,000", "crowd: refused", "too late", "p99, s", "tasks at most", "$ for 1,000"]  # fmt: skip
    chosen = result["chosen"]
    cells = []
    for row in result["policies"]:
        same = chosen is not None and all(row[name] == chosen[name] for name in ("guard", "target", "minimum"))
        mark, guard = "**" if same else "", "no guard" if row["guard"] is None else str(row["requests"])
        cells.append([
            *(f"{mark}{cell}{mark}" for cell in (guard, f"{row['target']:g}", row["minimum"])),
            number(row["usual_p99_s"], 1),
            percent(row["usual_refused"], 2), number(row["usual_dollars_per_1000"], 4), percent(row["refused"]),
            percent(row["failed"]), number(row["p99_s"], 1), str(row["most_tasks"]), number(row["dollars_per_1000"], 4),
        ])  # fmt: skip
    usual = "Usual: the day of the next table, pressed into three hours, so that the load changes eight times as fast."
    return f"### Which policy\n\n{table(header, cells)}" + ("" if result.get("quick") else f"\n\n{usual}")


def _days(result: Mapping[str, Any]) -> str:
    policy = "The policy of the settings" if result["chosen"] is None else "The chosen policy"
    header = ["load", "requests", "from the cache", "p50, s", "p99, s", "refused", "too late or broken",
              "tasks at most", "task hours", "$", "$ for 1,000"]  # fmt: skip
    cells = [
        [row["title"], f"{row['asked']:,}", percent(row["cached"]), number(row["p50_s"]), number(row["p99_s"]),
         percent(row["refused"], 2), percent(row["failed"], 2), str(row["most_tasks"]), number(row["task_hours"], 1),
         number(row["dollars"]), number(row["dollars_per_1000"], 4)]
        for row in result["days"]
    ]  # fmt: skip
    return f"### {policy} under three loads\n\n{table(header, cells)}"


def _internet(rows: Sequence[Mapping[str, Any]]) -> str:
    header = ["requests/s", "from the cache", "tasks", "cores of Redis", "$ an hour", "$ for 1,000"]
    cells = [
        [f"{row['rate']:,}", percent(row["hit"], 0), f"{row['tasks']:,}", number(row["redis_cores"]),
         number(row["dollars_hour"]), number(row["dollars_per_1000"], 4)]
        for row in rows
    ]  # fmt: skip
    rule = (
        "A task is planned at 70% of what it can do: tasks = (requests that are computed / captions a second of a task "
        "+ the cores that the others take / cores of a task) / 0.7, rounded up. Set `maximum` above those of the "
        "busiest hour, and `minimum` to those of the hour before a crowd."
    )
    return f"### More and more of it\n\n{table(header, cells)}\n\n{rule}"
