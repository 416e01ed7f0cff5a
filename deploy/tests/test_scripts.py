"""The pipeline's scripts, run beside programs that stand in for aws, docker and the CDK and note their calls."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from deploy.tests.conftest import CHECKOUT, Assembly
from required import program

SCRIPTS = CHECKOUT / "deploy" / "scripts"
NO_STACK = (
    "An error occurred (ValidationError) when calling DescribeStacks: Stack with id openblip-service does not exist"
)
DIGEST = "sha256:" + "ab" * 32


class Bench:
    """Programs that note their calls and answer with what a file says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "calls"

    def add(self, name: str, body: str = "") -> None:
        """A program of that name, which notes how it is called and then does this."""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self.notes}"\n{body}\n', encoding="utf-8")
        path.chmod(0o755)

    def run(self, script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A script, with these programs before all others."""
        around = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", **environment}
        command = ["bash", str(script), *arguments]
        return subprocess.run(command, env=around, capture_output=True, text=True, check=False, timeout=60)

    @property
    def calls(self) -> list[str]:
        """How they were called."""
        return self.notes.read_text(encoding="utf-8").splitlines() if self.notes.is_file() else []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    folder = tmp_path / "bin"
    folder.mkdir()
    return Bench(folder)


def scanned(
    bench: Bench, counts: dict[str, int] | None, *settings: str, machine: str = "x86_64"
) -> subprocess.CompletedProcess[str]:
    """image.sh, where the registry's scan found so much."""
    bench.add("uname", f"echo {machine}")
    found = [
        {"name": f"CVE-{severity}-{number}", "severity": severity}
        for severity, count in (counts or {}).items()
        for number in range(count)
    ]
    answer = None if counts is None else {"findings": found, "findingSeverityCounts": counts}
    bench.add("docker", "cat > /dev/null; echo building")
    bench.add(
        "aws",
        f"""case "$*" in
        *describe-repositories*) echo 1.dkr.ecr.example/openblip;;
        *get-login-password*) echo secret;;
        *describe-image-scan-findings*) echo '{json.dumps(answer)}';;
        *describe-images*) echo {DIGEST};;
        esac""",
    )
    return bench.run(SCRIPTS / "image.sh", "openblip", "v1", *settings)


def test_an_image_is_pushed_and_told_by_its_digest_alone(bench: Bench) -> None:
    answer = scanned(bench, {"MEDIUM": 3})
    assert (answer.returncode, answer.stdout) == (0, f"digest={DIGEST}\n"), answer.stderr
    assert "docker buildx build --pull --provenance=false --tag 1.dkr.ecr.example/openblip:v1 --push ." in bench.calls
    order = [call.split()[2] for call in bench.calls if call.startswith("aws")]
    assert order.index("wait") < order.index("describe-image-scan-findings")
    assert "secret" not in "".join(bench.calls)


def test_the_image_has_the_model_and_the_extras_of_the_settings(bench: Bench, tmp_path: Path) -> None:
    settings = tmp_path / "production.toml"
    settings.write_text('[service]\nmodel = "captions-base"\nlibrary = true\n', encoding="utf-8")
    assert scanned(bench, None, str(settings)).returncode == 0
    [built] = [call for call in bench.calls if "buildx" in call]
    assert "--build-arg MODEL=captions-base --build-arg EXTRAS=serve,search --tag" in built


def test_settings_that_are_not_there_build_nothing(bench: Bench, tmp_path: Path) -> None:
    answer = scanned(bench, None, str(tmp_path / "none.toml"))
    assert answer.returncode != 0
    assert "none.toml are not there" in answer.stderr
    assert bench.calls == []


@pytest.mark.parametrize(("processor", "machine"), [("ARM64", "x86_64"), ("X86_64", "aarch64"), ("X86_64", "arm64")])
def test_an_image_of_another_processor_is_not_built(bench: Bench, tmp_path: Path, processor: str, machine: str) -> None:
    settings = tmp_path / "production.toml"
    settings.write_text(f'[task]\nprocessor = "{processor}"\n', encoding="utf-8")
    answer = scanned(bench, None, str(settings), machine=machine)
    assert answer.returncode != 0
    assert f"task.processor = {processor}, and this machine is " in answer.stderr
    assert not any(call.startswith(("docker", "aws")) for call in bench.calls)


def test_graviton_builds_for_graviton(bench: Bench, tmp_path: Path) -> None:
    settings = tmp_path / "production.toml"
    settings.write_text('[task]\nprocessor = "ARM64"\n', encoding="utf-8")
    assert scanned(bench, None, str(settings), machine="aarch64").returncode == 0


@pytest.mark.parametrize("counts", [{"HIGH": 1}, {"CRITICAL": 2, "LOW": 1}])
def test_a_fault_that_the_scan_finds_ends_it(bench: Bench, counts: dict[str, int]) -> None:
    answer = scanned(bench, counts)
    assert answer.returncode == 1
    assert "digest=" not in answer.stdout
    assert f"{next(iter(counts))} CVE-" in answer.stderr


def test_a_scan_that_finds_nothing_at_all_is_fine(bench: Bench) -> None:
    assert scanned(bench, None).returncode == 0


@pytest.mark.parametrize(
    ("said", "version"),
    [(f"echo {DIGEST}", DIGEST), ("echo None", ""), (f"echo '{NO_STACK}' >&2; exit 254", "")],
)
def test_what_runs_is_told_and_nothing_where_nothing_runs(bench: Bench, said: str, version: str) -> None:
    bench.add("aws", said)
    answer = bench.run(SCRIPTS / "running.sh", "openblip")
    assert (answer.returncode, answer.stdout) == (0, f"version={version}\n")


@pytest.mark.parametrize("said", ["AccessDenied", "Unable to locate credentials", "Rate exceeded"])
def test_another_error_is_not_taken_for_no_service(bench: Bench, said: str) -> None:
    bench.add("aws", f"echo '{said}' >&2; exit 254")
    answer = bench.run(SCRIPTS / "running.sh", "openblip")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert said in answer.stderr


@pytest.fixture
def copy(bench: Bench) -> Path:
    """Of the checkout, with the page and the CDK as far as scripts ask for them."""
    root = bench.folder.parent / "checkout"
    (root / "deploy" / "node_modules" / ".bin").mkdir(parents=True)
    shutil.copytree(SCRIPTS, root / "deploy" / "scripts")
    bench.add("cdk")
    (bench.folder / "cdk").rename(root / "deploy" / "node_modules" / ".bin" / "cdk")
    page = root / "src" / "openblip" / "serve" / "built_page"
    (page / "_next").mkdir(parents=True)
    (page / "policy.json").write_text("{}", encoding="utf-8")
    return root


def deployed(bench: Bench, copy: Path, settings: Path | str, **environment: str) -> list[str]:
    """How deploy.sh calls the CDK."""
    answer = bench.run(copy / "deploy" / "scripts" / "deploy.sh", str(settings), "v2", **environment)
    assert answer.returncode == 0, answer.stderr
    return bench.calls


def test_a_deployment_names_its_settings_image_and_certificates(bench: Bench, copy: Path, tmp_path: Path) -> None:
    settings = tmp_path / "production.toml"
    given = {"BALANCER_CERTIFICATE": "arn:b", "WEB_CERTIFICATE": "arn:w", "DEPLOYMENT": "photos"}
    [call] = deployed(bench, copy, settings, **given)
    assert "--context version=v2" in call
    assert f"--context settings={settings}" in call
    assert "--parameters photos-service:CertificateArn=arn:b --parameters photos-web:CertificateArn=arn:w" in call


def test_without_settings_and_certificates_it_has_the_defaults_and_those_of_last_time(bench: Bench, copy: Path) -> None:
    [call] = deployed(bench, copy, "", BALANCER_CERTIFICATE="", WEB_CERTIFICATE="")
    assert "settings=" not in call
    assert "--parameters" not in call


def test_without_the_page_nothing_is_deployed_whose_header_would_stop_its_scripts(bench: Bench, copy: Path) -> None:
    (copy / "src" / "openblip" / "serve" / "built_page" / "policy.json").unlink()
    answer = bench.run(copy / "deploy" / "scripts" / "deploy.sh", "", "v2")
    assert (answer.returncode, bench.calls) == (2, [])
    assert "the page is not built: run make page" in answer.stderr


def test_what_runs_is_deployed_again_as_the_runbook_has_it(bench: Bench, copy: Path) -> None:
    page = (CHECKOUT / "docs" / "runbook.md").read_text(encoding="utf-8")
    [asked] = re.findall(r"^running=.*$", page, re.MULTILINE)
    [deploy] = re.findall(r"(deploy/scripts/deploy\.sh \S+ .*running\S*) &&", page)
    bench.add("aws", f"echo {DIGEST}")
    script = copy / "again.sh"
    script.write_text(f'cd "$(dirname "$0")"\n{asked}\n{deploy}\n', encoding="utf-8")
    answer = bench.run(script, BALANCER_CERTIFICATE="", WEB_CERTIFICATE="")
    assert answer.returncode == 0, answer.stderr
    assert f"--context version={DIGEST} --context settings=deploy/production.toml" in bench.calls[-1]


def test_the_page_goes_after_its_files_and_old_ones_go_last(bench: Bench, copy: Path) -> None:
    bench.add("aws", 'case "$*" in *PageBucket*) echo pages;; *DistributionId*) echo D1;; esac')
    answer = bench.run(copy / "deploy" / "scripts" / "publish_page.sh", "openblip")
    assert answer.returncode == 0, answer.stderr
    files, page, old = (call for call in bench.calls if " s3 sync " in f" {call} ")
    assert "_next s3://pages/_next" in files
    assert "immutable" in files
    assert "no-cache" in page
    assert ["--delete" in each for each in (files, page, old)] == [False, False, True]
    assert all("--exclude policy.json" in each for each in (files, page, old))
    assert "--distribution-id D1" in bench.calls[-1]


def test_the_pipelines_role_may_do_what_its_scripts_do(assembly: Assembly) -> None:
    texts = [path.read_text(encoding="utf-8").replace("\\\n", "") for path in SCRIPTS.glob("*.sh")]
    called = {found for text in texts for found in re.findall(r"\baws ([a-z0-9]+) (wait )?([a-z-]+)", text)}
    others = {
        "ecr:GetLoginPassword": {"ecr:GetAuthorizationToken"},
        "ecr:ImageScanComplete": {"ecr:DescribeImageScanFindings"},
        "s3:Sync": {"s3:ListBucket", "s3:PutObject", "s3:DeleteObject"},
    }
    wanted: set[str] = set()
    for service, _, verb in called:
        action = f"{service}:{verb.title().replace('-', '')}"
        wanted |= others.get(action, {action})
    assert len(wanted) >= 9
    policies = assembly.resources("pipeline", "AWS::IAM::Policy")
    statements = [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]
    given = [each["Action"] if isinstance(each["Action"], list) else [each["Action"]] for each in statements]
    assert wanted <= {action for actions in given for action in actions}


def test_what_fails_after_the_service_was_deployed_puts_its_image_back() -> None:
    workflow = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8"))
    steps = {each["id"]: each for each in workflow["jobs"]["deploy"]["steps"] if "id" in each}
    assert list(steps) == ["before", "deploy", "page", "smoke", "back"]
    condition = steps["back"]["if"]
    for name in ("deploy", "page", "smoke"):
        assert f"steps.{name}.outcome == 'failure'" in condition
    assert "steps.before.outputs.version != ''" in condition
    assert steps["back"]["env"]["VERSION"] == "${{ steps.before.outputs.version }}"


def test_each_try_of_the_workflow_pushes_a_tag_of_its_own() -> None:
    """A tag cannot be moved; a second run on a commit, or a second try of a run, would be refused."""
    workflow = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8"))
    [tag] = [each["env"]["TAG"] for each in workflow["jobs"]["image"]["steps"] if "TAG" in each.get("env", {})]
    assert re.findall(r"github\.(\w+)", tag) == ["sha", "run_id", "run_attempt"]


class Service(BaseHTTPRequestHandler):
    """Answers with a caption, and notes the key that it was asked with."""

    text, keys = "a dog", list[str]()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.keys.append(self.headers.get("Authorization", ""))
        body = json.dumps({"results": [{"captions": [{"text": self.text}]}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("text", "code"), [("a dog", 0), ("", 1)])
def test_the_smoke_test_wants_a_caption(
    bench: Bench, address: str, text: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("curl")
    monkeypatch.setattr(Service, "text", text)
    monkeypatch.setattr(Service, "keys", [])
    answer = bench.run(SCRIPTS / "smoke.sh", f"{address}/", OPENBLIP_API_KEY="ob_key")
    assert answer.returncode == code, answer.stderr
    assert answer.stdout.strip() == text
    assert Service.keys == ["Bearer ob_key"]
