from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openblip.errors import ModelNotFound
from openblip.hub import ModelFolder, compiled_folder, find_model, find_set


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for the openblip-mini distribution; returns its checkpoint folder."""
    package = tmp_path / "site" / "openblip_mini"
    (package / "checkpoint").mkdir(parents=True)
    (package / "checkpoint" / "config.json").write_text("{}", encoding="utf-8")
    (package / "__init__.py").write_text(
        "from pathlib import Path\nFOLDER = Path(__file__).parent / 'checkpoint'\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "openblip_mini", raising=False)
    yield package / "checkpoint"
    sys.modules.pop("openblip_mini", None)  # the stand-in; monkeypatch puts back what was there before


def test_mini_is_the_installed_distribution_and_the_default(bundled: Path) -> None:
    assert find_model("mini") == find_model() == find_model(None) == ModelFolder("mini", bundled)


def test_variable_names_the_default(bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("OPENBLIP_MODEL", str(own))
    assert find_model() == ModelFolder("own", own)
    assert find_model("mini").path == bundled
    monkeypatch.setenv("OPENBLIP_MODEL", "")
    assert find_model().name == "mini"


def test_a_bad_variable_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLIP_MODEL", "tiny-blip")
    with pytest.raises(ModelNotFound, match=r"'tiny-blip' \(from OPENBLIP_MODEL\): use mini, base, large, owner/name"):
        find_model()


def test_a_folder_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "fine-tuned"
    folder.mkdir()
    assert find_model(folder) == find_model(str(folder)) == ModelFolder("fine-tuned", folder)
    monkeypatch.chdir(folder)
    assert find_model(".").name == "fine-tuned"


def test_a_known_name_wins_over_a_folder_of_that_name(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mini").mkdir()
    assert find_model("mini").path == bundled
    assert find_model("./mini").path.resolve() == tmp_path / "mini"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of huggingface_hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached(cache: Path, repository: str, commit: str = "c" * 40, revision: str = "main") -> Path:
    """A checkpoint as huggingface_hub leaves it behind; returns its snapshot."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        (snapshot / file).write_text("{}", encoding="utf-8")
    (folder / "refs" / revision).parent.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / revision).write_text(commit, encoding="utf-8")
    return snapshot


def test_a_name_of_the_hub_is_found_in_the_cache(cache: Path) -> None:
    snapshot = cached(cache, "someone/blip")
    other = cached(cache, "someone/blip", "d" * 40, "refs/pr/18")
    assert find_model("someone/blip") == ModelFolder("someone/blip", snapshot)
    assert find_model("someone/blip@refs/pr/18") == ModelFolder("someone/blip@refs/pr/18", other)
    assert find_model(f"someone/blip@{'d' * 40}").path == other
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelNotFound, match="if the hub has it, run 'openblip pull someone/blip'"):
        find_model("someone/blip")


def test_a_folder_wins_over_a_name_of_the_hub(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(cache, "someone/blip")
    monkeypatch.chdir(tmp_path)
    Path("someone/blip").mkdir(parents=True)
    assert find_model("someone/blip") == ModelFolder("blip", Path("someone/blip"))


@pytest.mark.parametrize("name", ["someone/blip", "someone/blip@v2", "samples/dog"])
def test_what_is_not_cached_says_how_to_get_it(cache: Path, name: str) -> None:
    with pytest.raises(ModelNotFound, match=f"no folder '{name}', nor a checkpoint .* run 'openblip pull {name}'"):
        find_model(name)


def test_a_set_of_which_a_part_is_cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = cached(cache, "Salesforce/blip-image-captioning-base")
    members = find_set("base")
    assert members is not None
    assert list(members) == ["caption", "answer", "match", "embed"]
    assert find_model(members["caption"]) == ModelFolder(members["caption"], snapshot)
    with pytest.raises(ModelNotFound, match=r"run 'openblip pull Sales.*coco', or 'openblip pull base' for its whole"):
        find_model(members["match"])
    monkeypatch.setenv("OPENBLIP_MODEL", "base")
    assert find_set() == members
    assert find_set("mini") is None
    assert find_set(cache) is None


@pytest.mark.parametrize("name", ["base", "large"])
def test_a_set_is_not_one_checkpoint(name: str) -> None:
    with pytest.raises(
        ModelNotFound, match=f"'{name}' is a set of checkpoints, and one is wanted here: use Salesforce/"
    ):
        find_model(name)


@pytest.mark.parametrize("name", ["", "medium", "no/such/folder"])
def test_unknown_names_list_what_is_known(name: str) -> None:
    with pytest.raises(ModelNotFound, match=f"no model or folder '{name}': use mini, base, large, owner/name"):
        find_model(name)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"")
    with pytest.raises(ModelNotFound, match=r"is a file: give the folder that holds config\.json"):
        find_model(weights)


def test_mini_without_its_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openblip_mini", None)
    with pytest.raises(ModelNotFound, match=r"'mini' is not installed: run 'pip install openblip-mini', or 'make run'"):
        find_model("mini")


def test_mini_without_its_weights(bundled: Path) -> None:
    (bundled / "config.json").unlink()
    with pytest.raises(ModelNotFound, match="installed without its weights: reinstall openblip-mini"):
        find_model("mini")


def test_compiled_graphs_go_where_the_variables_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("OPENBLIP_CACHE", raising=False)
    assert compiled_folder() == tmp_path / "xdg" / "openblip" / "compiled"
    monkeypatch.setenv("OPENBLIP_CACHE", str(tmp_path / "own"))
    assert compiled_folder() == tmp_path / "own" / "compiled"
    assert (tmp_path / "own" / "compiled").is_dir()


def test_compiled_graphs_go_nowhere_when_told_or_when_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLIP_CACHE", "")
    assert compiled_folder() is None
    occupied = tmp_path / "file"
    occupied.write_text("", encoding="utf-8")
    monkeypatch.setenv("OPENBLIP_CACHE", str(occupied))
    assert compiled_folder() is None


@pytest.mark.parametrize("name", ["~nobody-of-that-name/model", "x" * 5000])
def test_a_path_that_cannot_be_looked_at(name: str) -> None:
    with pytest.raises(ModelNotFound):
        find_model(name)
