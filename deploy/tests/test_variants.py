"""What other settings change: Graviton, Spot, keys, the library, another region."""

from __future__ import annotations

import json

import pytest

from deploy.settings import Alarms, Limits, Processor, Scaling, Service, Settings, Task, Web
from deploy.tests.conftest import Assembly, synthesised

OTHER = Settings(
    region="eu-central-1",
    task=Task(vcpus=4, memory_gb=8, processor=Processor.GRAVITON),
    scaling=Scaling(spot_share=0.7, scheduled=()),
    service=Service(
        keys=True, library=True, log_days=7, limits=Limits(max_batch=8, max_queue=16, max_requests=32, max_texts=4)
    ),
    web=Web(prefix_list="pl-a3a144ca"),
    alarms=Alarms(email="on-call@example.com"),
)
DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def other(node: str, tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    return synthesised(tmp_path_factory.mktemp("other"), OTHER, DIGEST)


def test_its_rules_hold_too(other: Assembly) -> None:
    assert other.problem == ""


def test_graviton_is_of_tasks_and_of_jobs(other: Assembly) -> None:
    [definition] = other.resources("service", "AWS::ECS::TaskDefinition")
    assert definition["RuntimePlatform"]["CpuArchitecture"] == "ARM64"
    assert (definition["Cpu"], definition["Memory"]) == ("4096", "8192")
    [job] = other.resources("bulk", "AWS::Batch::JobDefinition")
    assert job["ContainerProperties"]["RuntimePlatform"]["CpuArchitecture"] == "ARM64"


def test_an_image_may_be_named_by_its_digest(other: Assembly) -> None:
    [definition] = other.resources("service", "AWS::ECS::TaskDefinition")
    assert f"@{DIGEST}" in json.dumps(definition["ContainerDefinitions"][0]["Image"])


def test_spot_takes_its_share_beyond_the_minimum(other: Assembly) -> None:
    [service] = other.resources("service", "AWS::ECS::Service")
    found = {each["CapacityProvider"]: each for each in service["CapacityProviderStrategy"]}
    assert found["FARGATE"] == {"CapacityProvider": "FARGATE", "Base": OTHER.scaling.minimum, "Weight": 30}
    assert found["FARGATE_SPOT"] == {"CapacityProvider": "FARGATE_SPOT", "Weight": 70}


def test_limits_reach_the_service(other: Assembly) -> None:
    [definition] = other.resources("service", "AWS::ECS::TaskDefinition")
    told = {each["Name"]: each["Value"] for each in definition["ContainerDefinitions"][1]["Environment"]}
    asked = ("MAX_BATCH", "MAX_QUEUE", "MAX_REQUESTS", "MAX_TEXTS", "MAX_ROWS")
    assert [told[f"OPENBLIP_{name}"] for name in asked] == ["8", "16", "32", "4", "16"]


def test_keys_reach_the_service_as_a_file_that_is_its_own(other: Assembly) -> None:
    [definition] = other.resources("service", "AWS::ECS::TaskDefinition")
    prepare, service = definition["ContainerDefinitions"]
    assert [each["Name"] for each in prepare["Secrets"]] == ["KEYS"]
    told = {each["Name"]: each["Value"] for each in service["Environment"]}
    assert told["OPENBLIP_API_KEYS"] in prepare["Command"][0]
    assert "KEYS" not in {each["Name"] for each in service["Secrets"]}


def test_a_library_may_be_read_and_written_and_nothing_else(other: Assembly) -> None:
    policies = other.resources("service", "AWS::IAM::Policy")
    [task] = [each for each in policies if "TaskTaskRole" in json.dumps(each["Roles"])]
    statements = task["PolicyDocument"]["Statement"]
    assert {action.partition(":")[0] for each in statements for action in each["Action"]} == {"s3"}
    places = json.dumps(statements)
    assert places.count("arn:aws:s3:::openblip-library-") == places.count("arn:aws:s3:::") > 0


def test_the_firewall_stays_where_cloudfront_asks_for_it(other: Assembly) -> None:
    [distribution] = other.resources("web", "AWS::CloudFront::Distribution")
    assert "Fn::GetAtt" in json.dumps(distribution["DistributionConfig"]["WebACLId"])
    manifest = json.loads((other.folder / "manifest.json").read_text(encoding="utf-8"))["artifacts"]
    assert manifest["openblip-firewall"]["environment"].endswith("/us-east-1")
    assert manifest["openblip-web"]["environment"].endswith("/eu-central-1")


def test_alarms_are_written_to_someone(other: Assembly) -> None:
    [subscription] = other.resources("observability", "AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "on-call@example.com")
