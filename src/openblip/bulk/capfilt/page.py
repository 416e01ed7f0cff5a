"""A report -> report.html: one file with everything in it, thumbnails too, and nothing that is loaded or run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from openblip.bulk.capfilt.records import SOURCES
from openblip.bulk.capfilt.report import Report, rule_items
from openblip.bulk.capfilt.samples import read_member
from openblip.bulk.capfilt.summary import BIN, BINS, GROUPS, LOWEST, Pair
from openblip.errors import OpenBlipError
from openblip.thumbnail import data_uri, thumbnail

THUMBNAIL = 176  # pixels of its longer side
_HEIGHT, _BAR = 90, 14  # of a histogram, in pixels
_TITLES = {
    "web kept": "Web texts that were kept",
    "web dropped": "Web texts that were dropped",
    "synthetic kept": "Synthetic texts that were kept",
    "synthetic dropped": "Synthetic texts that were dropped",
}
_SCORES = {"itm": "ITM probability", "itc": "ITC cosine"}
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --kept: #2e7d4f; --dropped: #b4532a; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } th, td { padding: .25rem .9rem .25rem 0; text-align: left; }
td { font-variant-numeric: tabular-nums; }
.note { opacity: .75; } .kept { fill: var(--kept); } .dropped { fill: var(--dropped); }
.key b { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem; } figure { margin: 0; }
svg { min-width: 60px; overflow: visible; }
svg text { fill: currentColor; font-size: 10px; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(176px, 1fr)); gap: 1rem; }
.pair { border: 1px solid var(--line); border-radius: 6px; padding: .5rem; overflow-wrap: anywhere; }
.pair img { display: block; width: 100%; height: 150px; object-fit: contain; background: #8882; }
.pair p { margin: .4rem 0 0; } .pair small { opacity: .7; }
"""


def contact_sheet(report: Report, shards: Mapping[str, Path]) -> bytes:
    """The page. shards: where each input shard lies, for the pictures of the pairs that are shown."""
    parts = [
        "<h1>CapFilt report</h1>",
        _models(report),
        _counts(report),
        _histograms(report),
        *(_sheet(group, report.whole.pairs[group], shards, report.shown) for group in GROUPS),
        _broken(report),
    ]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>CapFilt report</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(filter(None, parts)) + "\n</body></html>\n"
    )
    return page.encode("utf-8", "replace")


def _models(report: Report) -> str:
    rows = []
    for role, model in report.models.items():
        name = "none" if model is None else model["name"]
        rows.append(f"<tr><th>{role}</th><td>{escape(name)}</td></tr>")
    found = " by --keep-fraction" if report.decision.get("keep_fraction") is not None else ""
    thresholds = [f"{_SCORES[name]} at least {value:.4g}{found}" for name, value in rule_items(report.rule)]
    rows.append(f"<tr><th>kept</th><td>{escape(' and '.join(thresholds) or 'every text')}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _counts(report: Report) -> str:
    lines = [
        f"<p>{escape(report.picture_line)}.</p>",
        "<table><tr><th>texts</th><th>all</th><th>kept</th><th>rate</th><th>dropped, and why</th></tr>",
    ]
    texts = report.to_dict()["texts"]
    for source in SOURCES:
        counts = texts[source]
        why = ", ".join(f"{verdict} {count:,}" for verdict, count in counts["dropped"].items()) or "none"
        lines.append(
            f"<tr><th>{source}</th><td>{counts['all']:,}</td><td>{counts['kept']:,}</td>"
            f"<td>{counts['rate']:.1%}</td><td>{escape(why)}</td></tr>"
        )
    return "\n".join([*lines, "</table>"])


def _histograms(report: Report) -> str:
    charts = [
        _chart(
            f"{_SCORES[score]}, {source} texts",
            score,
            report.whole.histograms[source][score],
            dict(rule_items(report.rule)),
        )
        for source in SOURCES
        for score in BINS
        if any(map(any, report.whole.histograms[source][score].values()))
    ]
    if not charts:
        return ""
    key = (
        '<p class="key note">Texts in each bin of 0.05:<b style="background:var(--kept)"></b>kept'
        '<b style="background:var(--dropped)"></b>dropped. The line is the threshold.</p>'
    )
    return f'<h2>Scores</h2>{key}<div class="charts">{"".join(charts)}</div>'


def _chart(title: str, score: str, counts: Mapping[str, Sequence[int]], thresholds: Mapping[str, float]) -> str:
    """Stacked bars, kept below dropped, from the first bin that holds a text to the last."""
    totals = [kept + dropped for kept, dropped in zip(counts["kept"], counts["dropped"], strict=True)]
    full = [place for place, total in enumerate(totals) if total]
    first, last, top = min(full), max(full), max(totals)
    bars = []
    for place in range(first, last + 1):
        left, base = (place - first) * _BAR, float(_HEIGHT)
        for kind in ("kept", "dropped"):
            height = counts[kind][place] / top * _HEIGHT
            base -= height
            bars.append(
                f'<rect class="{kind}" x="{left + 1}" y="{base:.1f}" width="{_BAR - 2}" height="{height:.1f}">'
                f"<title>{counts[kind][place]:,} {kind}</title></rect>"
            )
    start, end = (LOWEST[score] + BIN * place for place in (first, last + 1))
    width = (last + 1 - first) * _BAR
    if score in thresholds and start <= thresholds[score] <= end:
        at = (thresholds[score] - start) / BIN * _BAR
        bars.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{_HEIGHT}" stroke="currentColor"/>')
    bars.append(f'<text x="0" y="{_HEIGHT + 12}">{start:.2f}</text>')
    bars.append(f'<text x="{width}" y="{_HEIGHT + 12}" text-anchor="end">{end:.2f}</text>')
    size = f'width="{width}" height="{_HEIGHT + 16}" viewBox="0 0 {width} {_HEIGHT + 16}"'
    caption = f"<figcaption>{escape(title)} (tallest bin: {top:,})</figcaption>"
    return f"<figure>{caption}<svg {size}>{''.join(bars)}</svg></figure>"


def _sheet(group: str, pairs: Sequence[Pair], shards: Mapping[str, Path], shown: int) -> str:
    if not pairs:
        return ""
    # The draw was fair; on the page the best come first, so that one sees where the line runs.
    ordered = sorted(pairs, key=lambda pair: (pair.itm or 0.0, pair.itc or 0.0, pair.order), reverse=True)
    items = "\n".join(_pair(pair, shards[pair.shard]) for pair in ordered)
    note = f"{len(pairs)} drawn at random, the best score first" if len(pairs) == shown else f"all {len(pairs)}"
    return f'<h2>{_TITLES[group]}</h2><p class="note">{note}</p>\n<div class="sheet">\n{items}\n</div>'


def _pair(pair: Pair, shard: Path) -> str:
    scores = [
        f"{name.upper()} {value:.3f}" for name, value in (("itm", pair.itm), ("itc", pair.itc)) if value is not None
    ]
    why = f"dropped by {pair.decision.upper()}" if pair.decision != "kept" else ""
    about = escape(" · ".join(filter(None, [*scores, why])))
    return (
        f'<div class="pair">{_thumbnail(pair, shard)}<p>{escape(pair.text)}</p>'
        f"<small>{about}<br>{escape(pair.shard)}: {escape(pair.key)}</small></div>"
    )


def _thumbnail(pair: Pair, shard: Path) -> str:
    try:
        small = thumbnail(read_member(shard, pair.member, pair.offset, pair.size), THUMBNAIL)
    except OpenBlipError as error:
        return f"<p>{escape(str(error))}</p>"
    return f'<img alt="" src="{data_uri(small)}">'


def _broken(report: Report) -> str:
    whole = report.whole
    lines = [f"{shard}: {key}: {reason}" for shard, key, reason in whole.errors]
    lines += [f"{shard} breaks off: {reason}" for shard, reason in whole.broken_off.items()]
    if not lines:
        return ""
    more = f" (the first {len(whole.errors)})" if whole.pictures["broken"] > len(whole.errors) else ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>Broken{more}</h2><ul>{items}</ul>"
