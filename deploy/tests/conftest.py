"""Templates, synthesised once for all tests: the CDK runs in Node and takes seconds."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy.settings import Settings
from required import lacking, module

if TYPE_CHECKING:
    from aws_cdk.assertions import Template

CHECKOUT = Path(__file__).resolve().parents[2]
NAMES = ("network", "data", "registry", "pipeline", "service", "firewall", "web", "bulk", "observability")
"""Of the stacks, in the order in which they are deployed."""


@dataclass(frozen=True)
class Assembly:
    """What a synthesis wrote. problem: what the rules said against it."""

    folder: Path
    problem: str
    templates: dict[str, Template]

    def path(self, stack: str) -> Path:
        """Of a stack's template."""
        return self.folder / f"openblip-{stack}.template.json"

    def json(self, stack: str) -> dict[str, Any]:
        """A stack's template as it is."""
        found: dict[str, Any] = json.loads(self.path(stack).read_text(encoding="utf-8"))
        return found

    def resources(self, stack: str, kind: str) -> list[dict[str, Any]]:
        """Properties of a stack's resources of a kind."""
        every = self.json(stack)["Resources"].values()
        return [each.get("Properties", {}) for each in every if each["Type"] == kind]


def synthesised(folder: Path, settings: Settings, version: str = "1.2.3") -> Assembly:
    """The stacks' templates, looked at by cdk-nag, with no account and no network."""
    from aws_cdk import App, Validations
    from aws_cdk.assertions import Template
    from cdk_nag import AwsSolutionsChecks

    from deploy.app import build

    page = folder / "page"
    page.mkdir(parents=True)
    (page / "policy.json").write_text(json.dumps({"index.html": ["sha256-abc="]}), encoding="utf-8")
    context = json.loads((CHECKOUT / "cdk.json").read_text(encoding="utf-8"))["context"]
    app = App(outdir=str(folder / "out"), context=context)
    build(app, settings, version, page)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    problem = ""
    try:
        app.synth()
    except RuntimeError as error:  # the templates are written nevertheless
        problem = f"{error}\n{_violations(folder / 'out' / 'validation-report.json')}"
    templates = {
        name: Template.from_string((folder / "out" / f"openblip-{name}.template.json").read_text(encoding="utf-8"))
        for name in NAMES
    }
    return Assembly(folder / "out", problem, templates)


def _violations(report: Path) -> str:
    found = json.loads(report.read_text(encoding="utf-8"))
    return "\n".join(
        f"{each['ruleName']} {[at['constructPath'] for at in each['violatingConstructs']]}"
        for plugin in found["pluginReports"]
        for each in plugin["violations"]
    )


@pytest.fixture(scope="session", autouse=False)
def node() -> str:
    """Its path; the CDK needs it."""
    module("aws_cdk", "deploy")
    return shutil.which("node") or lacking("BROWSER", "Node is not installed")


@pytest.fixture(scope="session")
def assembly(node: str, tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    """Of the default settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "CDK_"))]:
            patch.delenv(name)
        return synthesised(tmp_path_factory.mktemp("assembly"), Settings())
