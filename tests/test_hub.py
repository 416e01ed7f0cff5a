from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openblip.errors import ModelNotFound
from openblip.hub import ModelFolder, compiled_folder, find_model


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
    with pytest.raises(
        ModelNotFound, match=r"'tiny-blip' \(from OPENBLIP_MODEL\): use mini or the path of a checkpoint"
    ):
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


@pytest.mark.parametrize("name", ["base", "large"])
def test_names_of_a_later_version_say_so(name: str) -> None:
    with pytest.raises(ModelNotFound, match=f"'{name}' is not supported in this version yet: use mini"):
        find_model(name)


@pytest.mark.parametrize("name", ["", "medium", "no/such/folder"])
def test_unknown_names_list_what_is_known(name: str) -> None:
    with pytest.raises(ModelNotFound, match=f"no model or folder '{name}': use mini or the path"):
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
