"""The templates in moto's CloudFormation: what it can make is made, in order, one stack's exports in the next.

moto (5.2) does not know every kind of resource, and of some not every attribute. Those are left out of what it is
given, with a made-up text where another resource refers to them; `UNKNOWN` says which they are, and a test fails when
moto learns one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.settings import Settings
from deploy.tests.conftest import NAMES, Assembly
from required import module

boto3 = module("boto3", "deploy")
moto = module("moto", "deploy")

UNKNOWN = {
    "data": {
        "AWS::ElastiCache::ServerlessCache",
        "AWS::ElastiCache::User",
        "AWS::ElastiCache::UserGroup",
        "AWS::S3::BucketPolicy",
        "AWS::SecretsManager::Secret",
    },
    "pipeline": {"AWS::IAM::OIDCProvider"},
    "service": {
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::ECS::ClusterCapacityProviderAssociations",
    },
    "firewall": {"AWS::WAFv2::WebACL"},
    "web": {
        "AWS::CloudFront::Distribution",
        "AWS::CloudFront::OriginAccessControl",
        "AWS::CloudFront::ResponseHeadersPolicy",
        "AWS::CloudFront::VpcOrigin",
        "AWS::S3::BucketPolicy",
    },
    "bulk": {"AWS::EC2::SecurityGroupEgress"},
    "observability": {"AWS::CloudWatch::Alarm", "AWS::SNS::TopicPolicy"},
}
"""Kinds that moto's CloudFormation does not know, by stack."""

BROKEN = {"AWS::Batch::ComputeEnvironment", "AWS::Batch::JobQueue", "AWS::KMS::Key"}
"""Those that it knows and cannot make: Batch without a service role of one's own, a key with tags. A rule of
a security group that names a prefix list is another."""

REGION = Settings().region


def known(kind: str) -> Any:
    """moto's class of a kind of resource, or None."""
    from moto.cloudformation.parsing import resource_class_from_type

    return resource_class_from_type(kind)


def without(value: Any, gone: set[str], resources: dict[str, Any]) -> Any:
    """A part of a template where what is gone, or has no such attribute in moto, is a text instead."""
    if isinstance(value, list):
        return [without(each, gone, resources) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Ref"} and value["Ref"] in gone:
        return f"arn:aws:none:::not-made/{value['Ref'].lower()}"
    if set(value) == {"Fn::GetAtt"}:
        name, attribute = value["Fn::GetAtt"]
        if name in gone or not has(resources[name]["Type"], attribute):
            return f"arn:aws:none:::not-made/{name.lower()}/{attribute.lower()}"
    return {name: without(each, gone, resources) for name, each in value.items()}


def has(kind: str, attribute: str) -> bool:
    found = known(kind)
    return hasattr(found, "get_cfn_attribute") and bool(found.has_cfn_attr(attribute))


def makes(resource: dict[str, Any]) -> bool:
    """Whether moto makes it."""
    kind = resource["Type"]
    return kind not in BROKEN and known(kind) is not None and "SourcePrefixListId" not in resource.get("Properties", {})


def for_moto(template: dict[str, Any]) -> dict[str, Any]:
    resources = template["Resources"]
    gone = {name for name, each in resources.items() if not makes(each)}
    kept: dict[str, Any] = without(
        {**template, "Resources": {name: each for name, each in resources.items() if name not in gone}}, gone, resources
    )
    for each in kept["Resources"].values():
        wanted = each.pop("DependsOn", [])
        each["DependsOn"] = [name for name in ([wanted] if isinstance(wanted, str) else wanted) if name not in gone]
    return kept


@pytest.fixture(scope="module")
def cloud() -> Iterator[None]:
    """An account in this process, as `cdk bootstrap` leaves it; nothing is sent anywhere."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        with moto.mock_aws():
            version = {"Name": "/cdk-bootstrap/hnb659fds/version", "Value": "30", "Type": "String"}
            boto3.client("ssm").put_parameter(**version)
            yield


@pytest.fixture(scope="module")
def deployed(cloud: None, assembly: Assembly) -> dict[str, dict[str, str]]:
    """Of each stack, the physical ids of what was made."""
    clouds = boto3.client("cloudformation")
    certificate = boto3.client("acm").request_certificate(DomainName="captions.example.com")["CertificateArn"]
    made: dict[str, dict[str, str]] = {}
    for stack in NAMES:
        template = for_moto(assembly.json(stack))
        made[stack] = {}
        if not template["Resources"]:
            continue
        given = [{"ParameterKey": "CertificateArn", "ParameterValue": certificate}]
        clouds.create_stack(
            StackName=f"openblip-{stack}",
            TemplateBody=json.dumps(template),
            Parameters=given if "CertificateArn" in template["Parameters"] else [],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        [status] = clouds.describe_stacks(StackName=f"openblip-{stack}")["Stacks"]
        assert status["StackStatus"] == "CREATE_COMPLETE", status
        found = clouds.list_stack_resources(StackName=f"openblip-{stack}")["StackResourceSummaries"]
        made[stack] = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}
        assert set(made[stack]) == set(template["Resources"])
    return made


@pytest.mark.parametrize("stack", NAMES)
def test_what_moto_leaves_out_is_what_is_said_above(stack: str, assembly: Assembly, cloud: None) -> None:
    kinds = {each["Type"] for each in assembly.json(stack)["Resources"].values()}
    assert {kind for kind in kinds if known(kind) is None} == UNKNOWN.get(stack, set())


def test_all_the_rest_is_made(deployed: dict[str, dict[str, str]], assembly: Assembly) -> None:
    counts = {stack: len(made) for stack, made in deployed.items()}
    kinds = {stack: assembly.json(stack)["Resources"] for stack in NAMES}
    unnamed = {kinds[stack][name]["Type"] for stack, made in deployed.items() for name, at in made.items() if not at}
    assert unnamed <= {"AWS::EC2::SecurityGroupIngress", "AWS::EFS::AccessPoint"}, "moto gives those no id"
    assert counts.pop("firewall") == 0
    assert min(counts.values()) >= 1
    assert counts["network"] >= 19, counts


def test_the_network_that_was_made_is_private(deployed: dict[str, dict[str, str]]) -> None:
    ec2 = boto3.client("ec2")
    ids = [each for name, each in deployed["network"].items() if each.startswith("subnet-")]
    subnets = ec2.describe_subnets(SubnetIds=ids)["Subnets"]
    assert {subnet["MapPublicIpOnLaunch"] for subnet in subnets} == {False}
    assert len({subnet["AvailabilityZone"] for subnet in subnets}) == 2


def test_the_task_that_was_made_runs_in_it_behind_the_balancer(deployed: dict[str, dict[str, str]]) -> None:
    ecs, balancing = boto3.client("ecs"), boto3.client("elbv2")
    [service] = ecs.describe_services(cluster="openblip", services=["openblip"])["services"]
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    assert [each["name"] for each in definition["containerDefinitions"]] == ["prepare", "service"]
    [group] = balancing.describe_target_groups()["TargetGroups"]
    assert group["HealthCheckPath"] == "/readyz"
    [listener] = balancing.describe_listeners(LoadBalancerArn=group["LoadBalancerArns"][0])["Listeners"]
    assert listener["Protocol"] == "HTTPS"


def test_the_pipelines_role_that_was_made_trusts_github_alone(deployed: dict[str, dict[str, str]]) -> None:
    role = boto3.client("iam").get_role(RoleName="openblip-deploy")["Role"]
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
