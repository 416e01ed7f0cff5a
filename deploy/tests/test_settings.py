"""Figures that cannot be deployed are refused before anything is made of them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from deploy.settings import (
    LIMITS,
    Drain,
    Limits,
    Price,
    Prices,
    Processor,
    Scaling,
    ScheduledMinimum,
    Service,
    Settings,
    Task,
    Web,
)
from openblip.errors import OptionError
from openblip.serve.settings import ServeSettings


def test_a_task_costs_its_processor_and_memory() -> None:
    task = Task(vcpus=2, memory_gb=4)
    assert Prices().task_hour(task) == pytest.approx(2 * 0.04048 + 4 * 0.004445)
    graviton = Task(vcpus=2, memory_gb=4, processor=Processor.GRAVITON)
    assert Prices().task_hour(graviton) == pytest.approx(2 * 0.03238 + 4 * 0.00356)
    halved = Prices(spot_discount=0.5)
    assert halved.task_hour(task, spot_share=0.5) == pytest.approx(0.75 * halved.task_hour(task))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Task(vcpus=3), "vcpus = 3: take one of Fargate's: 0.25, 0.5, 1, 2, 4, 8, 16"),
        (lambda: Task(vcpus=2, memory_gb=3), "memory_gb = 3: with 2 vCPUs Fargate has 4 to 16 GB, 1 apart"),
        (lambda: Task(vcpus=8, memory_gb=18), "memory_gb = 18: with 8 vCPUs Fargate has 16 to 60 GB, 4 apart"),
        (lambda: Price(0, 1), "vcpu_hour = 0"),
        (lambda: Prices(spot_discount=1), "spot_discount = 1"),
        (lambda: Scaling(minimum=0, scheduled=()), "minimum = 0"),
        (lambda: Scaling(minimum=5, maximum=4), "maximum = 4: take 5"),
        (lambda: Scaling(maximum=2), "scheduled day = 3: take 2"),
        (lambda: Scaling(target_in_flight=0), "target_in_flight = 0"),
        (lambda: Scaling(target_requests_per_minute=0), "target_requests_per_minute = 0"),
        (lambda: Scaling(scale_out_cooldown_s=-1), "scale_out_cooldown_s = -1"),
        (lambda: Scaling(spot_share=1.5), "spot_share = 1.5"),
        (lambda: Scaling(scheduled=(ScheduledMinimum("a", 2, "1"), ScheduledMinimum("a", 3, "2"))), "its own name"),
        (lambda: ScheduledMinimum("day", 2, hour="seven"), "hour = 'seven'"),
        (lambda: ScheduledMinimum("Day", 2, hour="7"), "name = 'Day'"),
        (lambda: Drain(request_s=40), "drain_s = 50: take more than a request and its body may: 55"),
        (lambda: Drain(body_s=20), "drain_s = 50: take more than a request and its body may: 50"),
        (lambda: Drain(drain_s=60, deregistration_s=45), "deregistration_s = 45: take more than"),
        (lambda: Drain(body_s=0), "body_s = 0: take 1"),
        (lambda: Limits(max_batch=129), "max_batch = 129: take 1 to 128"),
        (lambda: Limits(max_queue=0), "max_queue = 0: take 1 to 100000"),
        (lambda: Service(model="base"), "model = 'base': that is a set of the hub: convert a checkpoint"),
        (lambda: Service(model="large"), "model = 'large': that is a set of the hub"),
        (
            lambda: Service(model="Salesforce/blip-vqa-base"),
            "blip-vqa-base': the image brings the model: take mini, or",
        ),
        (lambda: Service(model="none"), "model = 'none': the image brings the model"),
        (lambda: Service(model=""), "model = '': the image brings the model"),
        (lambda: Service(model="mini,captions-base"), "model = 'mini,captions-base': the image brings the model"),
        (lambda: Settings(region="eu-west-1"), "aws ec2 describe-managed-prefix-lists --region eu-west-1"),
        (lambda: Drain(notice_s=100), "120 s in all"),
        (lambda: Settings(name="Open BLIP"), "name = 'Open BLIP'"),
        (lambda: Settings(region="Virginia"), "region = 'Virginia'"),
        (lambda: Settings(scaling=Scaling(scale_in_cooldown_s=60)), "scale_in_cooldown_s = 60: take 120 or more"),
    ],
)
def test_what_cannot_be_is_refused_with_its_value_and_a_remedy(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(OptionError) as caught:
        make()
    assert words in str(caught.value)


def test_the_defaults_end_a_task_within_what_fargate_gives_it() -> None:
    drain = Settings().drain
    assert (drain.stop_s, drain.longest_s) == (70, 120)
    assert drain.notice_s + drain.drain_s < drain.stop_s <= 120
    assert min(drain.drain_s, drain.deregistration_s) > drain.request_s + drain.body_s


@pytest.mark.parametrize("model", ["mini", "captions-base", "captions_2.0"])
def test_a_model_is_a_folder_that_the_image_brings(model: str) -> None:
    assert Service(model=model).model == model


def test_another_region_needs_its_own_prefix_list() -> None:
    assert Settings(region="eu-west-1", web=Web(prefix_list="pl-4fa04526")).region == "eu-west-1"


def test_the_limits_are_the_services_own() -> None:
    assert set(LIMITS) == {field.name for field in fields(Limits)}
    for name, (least, most) in LIMITS.items():
        field = ServeSettings.model_fields[name]
        assert getattr(Limits(), name) == field.default
        given = [getattr(each, side, None) for side in ("ge", "le") for each in field.metadata]
        bounds = [each for each in given if each is not None]
        assert bounds == [least, most][: len(bounds)]
