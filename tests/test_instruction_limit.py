"""A process that is held to fewer instructions than its processor has (ONEDNN_MAX_CPU_ISA), as mini captions in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import start

PHOTO = str(Path(__file__).parents[1] / "samples/chelsea.jpg")
CAPTION = ["caption", PHOTO, "--model", "mini", "--threads", "1"]


def held_to(limit: str, *options: str) -> tuple[int, str, str]:
    done = start([*CAPTION, *options], {"ONEDNN_MAX_CPU_ISA": limit}, capture_output=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("limit", ["AVX512_CORE_VNNI", "AVX512_CORE", "AVX2_VNNI", "avx2"])
def test_every_precision_but_bf16_works(limit: str) -> None:
    code, expected, _ = held_to("", "--precision", "f32")
    assert code == 0
    for options in ([], ["--precision", "f32"], ["--precision", "int8"]):
        code, caption, problem = held_to(limit, *options)
        assert (code, problem) == (0, "")
        assert caption == expected


def test_bf16_is_refused_with_the_reason() -> None:
    code, _, problem = held_to("AVX2", "--precision", "bf16")
    assert code == 2
    assert "use 'f32' or 'int8' with ONEDNN_MAX_CPU_ISA=AVX2" in problem


@pytest.mark.parametrize("limit", ["SSE41", "AVX"])
def test_too_few_instructions_are_refused_at_once(limit: str) -> None:
    code, _, problem = held_to(limit, "--precision", "f32")
    assert code == 2
    assert f"ONEDNN_MAX_CPU_ISA={limit} is too little" in problem
    assert len(problem.splitlines()) == 1
