"""Prometheus' and Grafana's files: what they ask for exists in what a real service answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from deploy.container import checks
from deploy.container.draining import ask, drain, picture
from required import program

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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one that did every task, refused something, counted for its rate limit, and is drained then."""
    folder, port = tmp_path_factory.mktemp("service"), free_port()
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
        yield url
        found = drain(url, process.pid)
        assert isinstance(found["before"], dict)
        assert set(found["before"]) <= {200, 503}, "no accepted request is lost"
        assert found["before"][200] >= 29
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def known(service: str) -> dict[str, set[str]]:
    """Each name of its /metrics with its labels."""
    found = dict(OF_PROMETHEUS)
    for family in text_string_to_metric_families(checks.curl(f"{service}/metrics")):
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
    assert len(expressions()) > 25
    assert {where: found for where, text in expressions() if (found := faults(text, known))} == {}


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
    named = [events for _, expr in expressions() for events in re.findall(r'event=~?"([\w|]+)"', expr)]
    assert named
    assert {event for events in named for event in events.split("|")} - documented == set()


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
    done = subprocess.run(
        [program("promtool", "prometheus"), *command.split()], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def prometheus(service: str, tmp_path: Path) -> Iterator[str]:
    """The address of one with the project's files, which asks the service every half second. Its name in the compose
    network is not known here, so that its address stands for it."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    config["global"] = dict.fromkeys(config["global"], "500ms")
    [job] = config["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [service.removeprefix("http://")]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    shutil.copy(FOLDER / "rules.yml", tmp_path)
    port = free_port()
    command = [program("prometheus"), f"--config.file={tmp_path / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={tmp_path / 'figures'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def asked(address: str, path: str, **query: str) -> Any:
    """Of Prometheus' interface; nothing as long as it does not listen, or listens and is not ready."""
    try:
        with urllib.request.urlopen(f"{address}/api/v1/{path}?{urlencode(query)}", timeout=5) as answer:
            return json.loads(answer.read())["data"]
    except HTTPError as error:
        if error.code != 503:
            raise AssertionError(f"{query}: {error.read().decode()}") from None
        return {}
    except OSError:  # URLError is one
        return {}


def test_prometheus_has_something_for_every_panel_under_load(service: str, prometheus: str) -> None:
    # What this service had no reason to do, it does not count.
    rare = {"Refused, by reason", "Failures", "openblip:failed:share", "openblip:refused:share"}
    empty = [(where, text) for where, text in expressions() if where not in rare]
    numbers, deadline = iter(range(10**6, 10**9)), time.monotonic() + 30
    while empty and time.monotonic() < deadline:
        assert ask(service, picture(next(numbers))) == 200
        assert checks.caption_by_curl(service, PHOTO)
        empty = [
            (where, text)
            for where, text in empty
            if not asked(prometheus, "query", query=text.replace("[1m]", "[5s]")).get("result")
            and not (where.startswith("Openblip") and _is_quiet(prometheus, where))
        ]
    assert empty == []
    rules = [rule for group in asked(prometheus, "rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}


def _is_quiet(prometheus: str, alert: str) -> bool:
    """Whether its rule was evaluated, and nothing is the matter."""
    rules = [rule for group in asked(prometheus, "rules").get("groups", []) for rule in group["rules"]]
    return [(rule["health"], rule["state"]) for rule in rules if rule["name"] == alert] == [("ok", "inactive")]
