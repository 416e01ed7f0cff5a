"""Prometheus' and Grafana's files: what they ask for exists in what a real service answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from deploy.container import checks
from deploy.container.draining import drain

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "deploy" / "monitoring"
PHOTO = CHECKOUT / "samples" / "astronaut.jpg"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana" / "dashboards" / "openblip.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [
    rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text("utf-8"))["groups"] for rule in group["rules"]
]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
OF_PROMETHEUS = {"up": {"job", "instance"}}  # what it says itself of whom it asks, and adds to what they say


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """/metrics of a service that did every task, refused something, counted for its rate limit, and is drained then."""
    folder = tmp_path_factory.mktemp("service")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLIP_")}
    environment |= {"OPENBLIP_CACHE": str(folder), "OPENBLIP_RATE": "100000/minute", "OPENBLIP_TIMEOUT_S": "30"}
    command = [sys.executable, "-m", "openblip", "serve", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        checks.wait_ready(url)
        assert checks.refusal(url) == "422, image"
        assert checks.caption_by_curl(url, PHOTO) == "a boy in a red shirt is playing a game"
        assert "; " in checks.every_task(url, PHOTO)
        checks.figures(url)
        yield checks.curl(f"{url}/metrics")
        found = drain(url, process.pid)
        assert isinstance(found["before"], dict)
        assert set(found["before"]) <= {200, 503}, "no accepted request is lost"
        assert found["before"][200] >= 29
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def known(answer: str) -> dict[str, set[str]]:
    """Each name of the answer with its labels."""
    found = dict(OF_PROMETHEUS)
    for family in text_string_to_metric_families(answer):
        for sample in family.samples:
            found.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    return found


def selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    """All of an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, list):
        for each in node:
            yield from selectors(each)
    else:
        for name in ("lhs", "rhs", "expr", "args", "vector_selector"):
            below = getattr(node, name, None)
            if below is not None:
                yield from selectors(below)


def expressions() -> list[tuple[str, str]]:
    """Each with where it stands."""
    found = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
    found += [(rule.get("record") or rule["alert"], rule["expr"]) for rule in RULES]
    return [(where, text.replace("$__rate_interval", "1m")) for where, text in found]


def faults(text: str, known: dict[str, set[str]]) -> list[str]:
    """Names and labels that nobody gives."""
    found = []
    for selector in selectors(promql_parser.parse(text)):
        labels = known.get(selector.name or "", set())
        if selector.name not in known and selector.name not in RECORDED:
            found.append(str(selector.name))
        found += [f"{selector.name}{{{each.name}}}" for each in selector.matchers.matchers if each.name not in labels]
    return found


def test_names_and_labels_of_panels_and_rules_are_those_of_the_service(known: dict[str, set[str]]) -> None:
    asked = expressions()
    assert len(asked) > 25
    assert {where: found for where, text in asked if (found := faults(text, known))} == {}


def test_a_wrong_name_or_label_is_found(known: dict[str, set[str]]) -> None:
    assert faults("sum(rate(openblip_request_total[1m])) > 1", known) == ["openblip_request_total"]
    assert faults('openblip_queue_pictures{route="a"} + 1', known) == ["openblip_queue_pictures{route}"]


def test_every_figure_of_the_service_is_shown(known: dict[str, set[str]]) -> None:
    shown = {selector.name for _, text in expressions() for selector in selectors(promql_parser.parse(text))}
    stems = {re.sub(r"_(?:bucket|sum|count|created|total)$", "", name) for name in known if name != "up"}
    assert {stem for stem in stems if not any(str(name).startswith(stem) for name in shown)} == set()


def test_events_that_are_asked_for_are_those_of_the_code() -> None:
    text = (CHECKOUT / "docs" / "serving.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))))
    documented |= {"encoding_hit", "encoding_miss"}
    asked = [events for _, expr in expressions() for events in re.findall(r'event=~?"([\w|]+)"', expr)]
    assert asked
    assert {event for events in asked for event in events.split("|")} - documented == set()


def test_panels_have_room_and_the_data_source_that_is_provisioned() -> None:
    [source] = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)), "panels overlap"
    assert max(x for x, _ in cells) < 24


def test_every_alert_is_explained() -> None:
    page = (CHECKOUT / "docs" / "container.md").read_text(encoding="utf-8")
    alerts = [rule["alert"] for rule in RULES if "alert" in rule]
    assert [name for name in alerts if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("command", ["check config prometheus.yml", "test rules rules_test.yml"])
def test_promtool_takes_the_files(command: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        if os.environ.get("OPENBLIP_REQUIRE_PROMTOOL") == "1":
            pytest.fail("needs promtool: install the package prometheus", pytrace=False)
        pytest.skip("needs promtool: install the package prometheus")
    done = subprocess.run([program, *command.split()], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
