from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import openblip
from openblip import errors, types

# The door of the library. A change here is a change for its users: it belongs into the changelog.
PUBLIC_NAMES = [
    "Analysis",
    "Answer",
    "AsyncClient",
    "Blip",
    "Box",
    "Caption",
    "CaptionPiece",
    "CaptionStream",
    "CheckpointError",
    "Client",
    "DataError",
    "Embedding",
    "GenerateOptions",
    "GroundOptions",
    "Grounding",
    "ImageError",
    "InputError",
    "Match",
    "MissingExtra",
    "ModelError",
    "ModelNotFound",
    "OpenBlipError",
    "OptionError",
    "Outcome",
    "ServiceError",
    "Tag",
    "TagOptions",
    "TextError",
    "Timing",
    "TrainingError",
    "__version__",
]


def in_a_fresh_process(code: str) -> object:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_public_names_are_pinned() -> None:
    assert openblip.__all__ == PUBLIC_NAMES
    assert set(PUBLIC_NAMES) <= set(dir(openblip))


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(openblip, name) is not None


def test_every_error_and_every_type_is_public() -> None:
    own_errors = {name for name, value in vars(errors).items() if isinstance(value, type)}
    own_types = {name for name, value in vars(types).items() if getattr(value, "__module__", "") == "openblip.types"}
    assert own_errors <= set(PUBLIC_NAMES)
    assert {name for name in own_types if not name.startswith("_")} <= set(PUBLIC_NAMES)


def test_version_is_the_installed_one() -> None:
    assert openblip.__version__ == importlib.metadata.version("openblip")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'openblip' has no attribute 'Blob'"):
        openblip.Blob  # noqa: B018


def test_star_import_gives_exactly_the_public_names() -> None:
    code = "import json; scope = {}; exec('from openblip import *', scope); print(json.dumps(sorted(scope)))"
    assert in_a_fresh_process(code) == sorted([*PUBLIC_NAMES, "__builtins__"])


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import openblip", ["torch", "openvino", "numpy", "PIL", "tokenizers", "httpx", "rich", "click"]),
        ("import openblip; openblip.__version__; openblip.GenerateOptions", ["torch", "openvino", "numpy", "PIL"]),
        ("import openblip; openblip.Blip", ["torch", "openvino", "tokenizers", "httpx", "rich", "click"]),
    ],
)
def test_imports_stay_light(statement: str, absent: list[str]) -> None:
    code = f"{statement}\nimport json, sys; print(json.dumps([name for name in {absent!r} if name in sys.modules]))"
    assert in_a_fresh_process(code) == []


def test_import_takes_less_than_50_ms() -> None:
    code = "import time; start = time.perf_counter(); import openblip; print(time.perf_counter() - start)"
    fastest = min(float(str(in_a_fresh_process(code))) for _ in range(5))
    assert fastest < 0.05


def test_the_engine_reports_to_nobody(tmp_path: Path) -> None:
    """OpenVINO's package would count its imports in the home folder and send them off from a forked child."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    code = "import sys, openblip.engines.openvino.engine; print('openvino_telemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"
    assert not list(tmp_path.iterdir())
