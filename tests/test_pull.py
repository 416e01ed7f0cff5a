"""`openblip pull` against a hub on loopback, in processes of its own: the settings of huggingface_hub are read at its
import."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from command_line import COMMAND, start
from model_hub import COMMIT, Hub, running, serving
from openblip import pull as pull_module
from openblip.checkpoint import load_checkpoint
from openblip.config import SETS
from openblip.errors import ModelError
from published_folders import transformers_folder

NAME = "someone/blip-tiny"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with one captioning checkpoint and much that nobody needs."""
    folder, _ = transformers_folder(tmp_path / "on-the-hub", ("caption",))
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "README.md").write_text("# BLIP")
    shutil.copy(folder / "model.safetensors", folder / "pytorch_model.bin")
    shutil.copy(folder / "model.safetensors", folder / "tf_model.h5")
    with running({NAME: folder}) as hub:
        yield hub


@pytest.fixture
def settings(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """Of a machine whose cache is empty and whose hub is ours."""
    return {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.address, "HF_TOKEN": "", "HF_HUB_OFFLINE": ""}


def openblip(settings: dict[str, str], *arguments: str, **streams: Any) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    done = start(arguments, settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **streams)
    return done.returncode, done.stdout, done.stderr


def snapshot(settings: dict[str, str]) -> Path:
    return Path(settings["HF_HOME"], "hub", "models--someone--blip-tiny", "snapshots", COMMIT)


def arrived(settings: dict[str, str]) -> int:
    """Bytes of the file that is being fetched."""
    parts = snapshot(settings).parent.parent.glob("blobs/*.openblip.incomplete")
    return sum(part.stat().st_size for part in parts)


def one_line(stderr: str) -> str:
    [line] = stderr.splitlines()
    assert line.startswith("openblip: error: ")
    return line


def test_a_checkpoint_is_fetched_and_found(hub: Hub, settings: dict[str, str]) -> None:
    code, printed, errors = openblip(settings, "pull", NAME)
    folder = snapshot(settings)
    assert (code, errors) == (0, "")
    assert printed.strip().endswith(f"MB in {folder}")
    wanted = {"config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.txt", "model.safetensors"}
    assert {file.name for file in folder.iterdir()} == wanted
    for file in wanted:
        assert (folder / file).read_bytes() == (hub.repositories[NAME] / file).read_bytes()
    assert load_checkpoint(folder).config == load_checkpoint(hub.repositories[NAME]).config
    assert {name for method, name, _ in hub.requests if method == "GET"} == wanted
    # The model is found by its name from now on, with no hub to be seen.
    code, printed, errors = openblip(
        settings | {"HF_ENDPOINT": "http://127.0.0.1:9"}, "caption", "--model", NAME, str(a_picture(folder.parent))
    )
    assert (code, errors) == (0, "")


def a_picture(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (32, 32), (200, 30, 30)).save(folder / "red.png")
    return folder / "red.png"


def test_a_second_pull_checks_and_fetches_nothing(hub: Hub, settings: dict[str, str]) -> None:
    assert openblip(settings, "pull", NAME)[0] == 0
    before = dict(hub.sent)
    assert openblip(settings, "pull", NAME)[0] == 0
    assert hub.sent == before
    weights = snapshot(settings) / "model.safetensors"
    weights.resolve().write_bytes(b"\0" * weights.stat().st_size)
    assert openblip(settings, "pull", NAME)[0] == 0
    assert weights.read_bytes() == (hub.repositories[NAME] / "model.safetensors").read_bytes()


def test_a_pickle_only_where_there_is_no_safetensors(hub: Hub, settings: dict[str, str]) -> None:
    (hub.repositories[NAME] / "model.safetensors").unlink()
    (hub.repositories[NAME] / "vocab.txt").unlink()
    assert openblip(settings, "pull", f"{NAME}@{COMMIT}")[0] == 0
    assert {"pytorch_model.bin", "tokenizer.json"} < {file.name for file in snapshot(settings).iterdir()}


def test_a_set_is_all_its_checkpoints(hub: Hub, settings: dict[str, str]) -> None:
    members = list(dict.fromkeys(SETS["base"].values()))
    hub.repositories |= dict.fromkeys(members, hub.repositories[NAME])
    code, printed, errors = openblip(settings, "pull", "base")
    assert (code, errors) == (0, "")
    assert [line.split(":")[0] for line in printed.splitlines()] == members
    _, listed, _ = openblip(settings, "models", "--json")
    cached = [model["name"] for model in json.loads(listed)["models"] if model["where"] == "cached"]
    assert cached == members


def test_a_broken_connection_goes_on_in_the_same_run(hub: Hub, settings: dict[str, str]) -> None:
    hub.break_after, hub.breaks = 100_000, 1
    assert openblip(settings, "pull", NAME)[0] == 0
    size = (hub.repositories[NAME] / "model.safetensors").stat().st_size
    assert hub.gets("model.safetensors") == [None, "bytes=100000-"]
    assert hub.sent["model.safetensors"] == size
    assert load_checkpoint(snapshot(settings))


def test_an_interrupted_pull_goes_on_in_the_next_run(hub: Hub, settings: dict[str, str]) -> None:
    size = (hub.repositories[NAME] / "model.safetensors").stat().st_size
    part_of_it = size // 3
    hub.break_after, hub.breaks, hub.holding = part_of_it, 1, Event()
    with subprocess.Popen(
        [*COMMAND, "pull", NAME], env={**os.environ, **settings}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while hub.sent.get("model.safetensors", 0) < part_of_it or arrived(settings) < part_of_it:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    hub.holding.set()
    assert not snapshot(settings).exists(), "half a checkpoint must not look like one"
    assert "run 'openblip pull" in openblip(settings, "caption", "--model", NAME, "x.jpg")[2]
    assert openblip(settings, "pull", NAME)[0] == 0
    assert hub.gets("model.safetensors") == [None, f"bytes={part_of_it}-"]
    assert hub.sent["model.safetensors"] == size
    assert load_checkpoint(snapshot(settings))


def test_a_server_that_heeds_no_range_starts_anew(hub: Hub, settings: dict[str, str]) -> None:
    hub.break_after, hub.breaks, hub.ranges = 100_000, 1, False
    assert openblip(settings, "pull", NAME)[0] == 0
    assert load_checkpoint(snapshot(settings))


def test_a_server_that_gives_nothing_more(hub: Hub, settings: dict[str, str]) -> None:
    hub.break_after = 0
    code, _, errors = openblip(settings, "pull", NAME)
    assert code == 1
    assert "cannot be reached" in one_line(errors)
    assert "what has arrived is kept" in errors


@pytest.mark.parametrize("file", ["model.safetensors", "vocab.txt"])
def test_what_arrives_corrupted_is_removed(hub: Hub, settings: dict[str, str], file: str) -> None:
    hub.corrupt.add(file)
    code, _, errors = openblip(settings, "pull", NAME)
    assert code == 1
    assert f"{file} did not arrive as the hub has it" in one_line(errors)
    assert list(snapshot(settings).parent.parent.glob("blobs/*.incomplete")) == []
    hub.corrupt.clear()
    assert openblip(settings, "pull", NAME)[0] == 0


def test_a_server_without_hashes_is_told_of(hub: Hub, settings: dict[str, str]) -> None:
    hub.etags["model.safetensors"] = "some-etag"
    code, _, errors = openblip(settings, "pull", NAME)
    assert (code, errors) == (0, "openblip: the hub gives no hash of model.safetensors: it is unchecked\n")


def test_the_token_is_sent_to_the_hub(hub: Hub, settings: dict[str, str]) -> None:
    assert openblip(settings | {"HF_TOKEN": "hf_secret"}, "pull", NAME)[0] == 0
    assert set(hub.tokens) == {"Bearer hf_secret"}


def test_weights_that_lie_on_another_host(hub: Hub, settings: dict[str, str]) -> None:
    """As on the real hub: the storage is asked for the rest of a broken file, and never sees the token."""
    with serving(hub) as hub.storage:
        hub.break_after, hub.breaks = 100_000, 1
        assert openblip(settings | {"HF_TOKEN": "hf_secret"}, "pull", NAME)[0] == 0
    assert hub.storage_tokens == [None, None]
    assert hub.gets("model.safetensors")[-1] == "bytes=100000-"
    assert hub.sent["model.safetensors"] == (snapshot(settings) / "model.safetensors").stat().st_size


def test_a_bar_on_a_terminal_alone(settings: dict[str, str]) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, **settings, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen([*COMMAND, "pull", NAME], env=environment, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 65536)
            except OSError:  # the other side is closed
                break
        assert process.stdout
        assert b"\x1b" not in process.stdout.read()
        assert process.wait(60) == 0
    os.close(master)
    assert b"model.safetensors" in shown


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("someone/else", "has no model 'someone/else' that you may see: check the name"),
        (f"{NAME}@v9", "'someone/blip-tiny' has no revision 'v9'"),
        ("medium", "'medium' is no name of the hub: give base, large, or owner/name"),
        ("../../etc", "is no name of the hub"),
    ],
)
def test_names_that_the_hub_does_not_know(hub: Hub, settings: dict[str, str], name: str, message: str) -> None:
    code, printed, errors = openblip(settings, "pull", name)
    assert (code, printed) == (1, "")
    assert message in one_line(errors)


def test_a_gated_checkpoint(hub: Hub, settings: dict[str, str]) -> None:
    hub.gated.add(NAME)
    code, _, errors = openblip(settings, "pull", NAME)
    assert code == 1
    assert f"is gated: ask for access at {hub.address}/{NAME}, then set HF_TOKEN" in one_line(errors)


def test_a_hub_that_is_down(hub: Hub, settings: dict[str, str]) -> None:
    hub.status = 503
    code, _, errors = openblip(settings, "pull", NAME)
    assert code == 1
    assert f"{hub.address} answered 503 about '{NAME}': try again later" in one_line(errors)


def test_what_is_no_blip_is_refused_before_its_weights(hub: Hub, settings: dict[str, str]) -> None:
    (hub.repositories[NAME] / "config.json").write_text(json.dumps({"model_type": "bert"}))
    code, _, errors = openblip(settings, "pull", NAME)
    assert code == 1
    assert "is no checkpoint of BLIP: the model_type in its config.json is 'bert'" in one_line(errors)
    assert hub.gets("model.safetensors") == []


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["config.json"], "has no config.json"),
        (["vocab.txt", "tokenizer.json"], "has neither vocab.txt nor tokenizer.json"),
        (["model.safetensors", "pytorch_model.bin"], "has neither model.safetensors nor pytorch_model.bin"),
    ],
)
def test_a_repository_that_lacks_a_file(hub: Hub, settings: dict[str, str], gone: list[str], message: str) -> None:
    for file in gone:
        (hub.repositories[NAME] / file).unlink()
    code, _, errors = openblip(settings, "pull", NAME)
    assert code == 1
    assert message in one_line(errors)


def test_no_network(settings: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    code, _, errors = openblip(settings | {"HF_ENDPOINT": address}, "pull", NAME)  # nobody listens any more
    assert code == 1
    assert f"{address} cannot be reached" in one_line(errors)


def test_a_server_that_is_no_hub(hub: Hub, settings: dict[str, str], tmp_path: Path) -> None:
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Anything(SimpleHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Anything) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        code, _, errors = openblip(settings | {"HF_ENDPOINT": address}, "pull", NAME)
        server.shutdown()
    assert code == 1
    assert f"{address} does not answer as a model hub does" in errors


def test_offline(hub: Hub, settings: dict[str, str]) -> None:
    offline = settings | {"HF_HUB_OFFLINE": "1"}
    code, _, errors = openblip(offline, "pull", NAME)
    assert code == 1
    assert "is not in the cache, and HF_HUB_OFFLINE is set" in one_line(errors)
    assert openblip(settings, "pull", NAME)[0] == 0
    asked = len(hub.requests)
    assert openblip(offline, "pull", NAME)[:1] == (0,)
    assert len(hub.requests) == asked


def test_a_file_that_cannot_be_written(settings: dict[str, str]) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    code, _, errors = openblip(settings, "pull", NAME, preexec_fn=limit)
    assert code == 1
    assert "cannot write" in one_line(errors)
    assert "make room or set HF_HOME" in errors


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(100, 90, 5_000_000))  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"the disk is full: 1,880 MB are to come and 5 MB are free in .*HF_HOME"):
        pull_module._check_space(tmp_path / "part", 1_880_000_000)


def test_mini_is_pulled_by_nobody(hub: Hub, settings: dict[str, str], mini: Path) -> None:
    code, printed, _ = openblip(settings, "pull", "mini")
    assert (code, str(mini) in printed, hub.requests) == (0, True, [])
