"""A deployment's settings from a file: what is in it is known, typed and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.settings import Processor, ScheduledMinimum, Settings
from deploy.settings_file import read_settings
from deploy.tests.conftest import CHECKOUT
from openblip.errors import OptionError


def test_without_a_file_there_are_the_defaults() -> None:
    assert read_settings(None) == Settings()


def test_the_example_is_read_into_types() -> None:
    settings = read_settings(CHECKOUT / "deploy" / "example.toml")
    assert settings.task.processor is Processor.GRAVITON
    assert settings.scaling.scheduled[0] == ScheduledMinimum("day", 4, hour="7", week_day="MON-FRI")
    assert settings.service.keys
    assert settings.service.limits.max_queue == 64
    assert settings.scaling.target_in_flight == Settings().scaling.target_in_flight


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1", "colour is no setting: take one of name, region"),
        ("[scaling]\nmost = 1", "scaling.most is no setting: take one of minimum"),
        ("task = 2", "task = 2: write a table"),
        ("[task]\nprocessor = 'RISC'", "task.processor = 'RISC': take one of X86_64, ARM64"),
        ("[task]\nvcpus = '2'", "task.vcpus = '2': give a number"),
        ("[scaling]\nminimum = true", "scaling.minimum = True: give a whole number"),
        ("[scaling]\nscheduled = [1]", "scaling.scheduled = [1]: write [[tables]]"),
        ("[[scaling.scheduled]]\nname = 'day'", "give name, minimum, hour"),
        ("[service]\nlog_days = 31", "log_days = 31: take one of CloudWatch's"),
        ("[web]\ndomain = 'here'", "domain = 'here'"),
        ("[drain]\nrequest_s = 60\ndrain_s = 76\nderegistration_s = 76\nnotice_s = 0", "CloudFront waits 60 s"),
        ("[service.limits]\nmax_batch = 0", "max_batch = 0: take 1 to 128"),
        ("[service.limits]\nbatch = 8", "service.limits.batch is no setting: take one of max_batch"),
        ("name = ", "are no TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_value(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(OptionError) as caught:
        read_settings(path)
    assert words in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none\.toml cannot be read"):
        read_settings(tmp_path / "none.toml")
