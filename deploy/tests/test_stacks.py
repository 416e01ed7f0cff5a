"""What each stack's template says, of the default settings."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from deploy.settings import Settings
from deploy.tests.conftest import CHECKOUT, NAMES, Assembly
from openblip.serve.figures import NAMESPACE
from openblip.serve.page import page_policy
from openblip.serve.settings import ServeSettings

if TYPE_CHECKING:
    from aws_cdk.assertions import Template

DEFAULTS = Settings()


def only(template: Template, kind: str) -> dict[str, Any]:
    """The properties of the one resource of a kind."""
    [found] = template.find_resources(kind).values()
    properties: dict[str, Any] = found["Properties"]
    return properties


def test_the_network_has_no_way_out_and_few_doors(assembly: Assembly) -> None:
    template = assembly.templates["network"]
    template.resource_count_is("AWS::EC2::NatGateway", 0)
    template.resource_count_is("AWS::EC2::Route", 0)
    template.resource_properties_count_is("AWS::EC2::Subnet", {"MapPublicIpOnLaunch": False}, 2)
    template.resource_count_is("AWS::EC2::Subnet", 2)
    doors = json.dumps([each["ServiceName"] for each in assembly.resources("network", "AWS::EC2::VPCEndpoint")])
    for service in ("s3", "ecr.api", "ecr.dkr", "logs", "secretsmanager"):
        assert f".{service}" in doors
    template.has_resource_properties("AWS::EC2::FlowLog", {"TrafficType": "REJECT"})


def test_the_cache_asks_for_a_user_and_its_url_is_a_secret(assembly: Assembly) -> None:
    template = assembly.templates["data"]
    cache = only(template, "AWS::ElastiCache::ServerlessCache")
    assert cache["Engine"] == "valkey"
    assert cache["UserGroupId"] == {"Ref": next(iter(template.find_resources("AWS::ElastiCache::UserGroup")))}
    user = only(template, "AWS::ElastiCache::User")
    assert "-@all" in user["AccessString"]
    assert "-@dangerous" in user["AccessString"]
    [password] = user["Passwords"]
    assert "resolve:secretsmanager" in json.dumps(password)
    urls = [each for each in assembly.resources("data", "AWS::SecretsManager::Secret") if "SecretString" in each]
    [url] = [json.dumps(each["SecretString"]) for each in urls]
    assert "rediss://openblip:" in url
    assert "resolve:secretsmanager" in url


def test_the_secret_of_keys_that_is_filled_by_hand_is_told(assembly: Assembly) -> None:
    template = assembly.json("data")
    told = template["Outputs"]["KeysSecret"]["Value"]["Ref"]
    secret = template["Resources"][told]
    assert secret["Type"] == "AWS::SecretsManager::Secret"
    assert "OPENBLIP_API_KEYS" in secret["Properties"]["Description"]


def test_nobody_reads_a_bucket_or_without_tls(assembly: Assembly) -> None:
    buckets = [each for stack in ("data", "web") for each in assembly.resources(stack, "AWS::S3::Bucket")]
    assert len(buckets) == 4
    for bucket in buckets:
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert "BucketEncryption" in bucket
    policies = [each for stack in ("data", "web") for each in assembly.resources(stack, "AWS::S3::BucketPolicy")]
    denied = [
        statement
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert len(denied) == len(buckets)


def test_what_cannot_be_empty_outlives_its_stack(assembly: Assembly) -> None:
    """CloudFormation deletes no bucket that holds anything; the page's is emptied by hand (docs/deploy.md)."""
    resources = {**assembly.json("data")["Resources"], **assembly.json("web")["Resources"]}
    buckets = {name: each for name, each in resources.items() if each["Type"] == "AWS::S3::Bucket"}
    gone = [name for name, each in buckets.items() if each["DeletionPolicy"] == "Delete"]
    assert len(gone) == 1
    assert gone[0].startswith("Page")


def test_what_stays_is_what_the_page_says_and_a_first_try_that_fails_leaves_nothing(assembly: Assembly) -> None:
    kept = {
        (stack, each["Type"].rpartition("::")[2], name.rstrip("0123456789ABCDEF"))
        for stack in NAMES
        for name, each in assembly.json(stack)["Resources"].items()
        if each.get("DeletionPolicy", "Delete") != "Delete"
    }
    assert kept == {
        ("data", "Bucket", "AccessLogs"),
        ("data", "Bucket", "Library"),
        ("data", "Secret", "Keys"),
        ("registry", "Repository", "Images"),
        ("web", "Bucket", "Logs"),
        ("bulk", "FileSystem", "Files"),
    }
    every = [each for stack in NAMES for each in assembly.json(stack)["Resources"].values()]
    policies = {each["DeletionPolicy"] for each in every if each.get("DeletionPolicy", "Delete") != "Delete"}
    assert policies == {"RetainExceptOnCreate"}


def test_an_image_is_scanned_and_its_tag_stays(assembly: Assembly) -> None:
    expected = {"ImageTagMutability": "IMMUTABLE", "ImageScanningConfiguration": {"ScanOnPush": True}}
    assembly.templates["registry"].has_resource_properties("AWS::ECR::Repository", expected)


def test_the_pipelines_role_is_one_environments_alone(assembly: Assembly) -> None:
    [trust] = [
        each["AssumeRolePolicyDocument"]["Statement"] for each in assembly.resources("pipeline", "AWS::IAM::Role")
    ]
    [statement] = trust
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"]["StringEquals"] == {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": "repo:OWNER/openblip:environment:production",
    }
    policies = assembly.resources("pipeline", "AWS::IAM::Policy")
    statements = [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]
    everywhere = [each for each in statements if each["Resource"] == "*"]
    assert [each["Action"] for each in everywhere] == ["ecr:GetAuthorizationToken"]


def test_a_task_is_private_and_cannot_write_its_image(assembly: Assembly) -> None:
    template = assembly.templates["service"]
    configuration = only(template, "AWS::ECS::Service")["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert configuration["AssignPublicIp"] == "DISABLED"
    definition = only(template, "AWS::ECS::TaskDefinition")
    assert (definition["Cpu"], definition["Memory"]) == ("2048", "4096")
    assert definition["RuntimePlatform"]["CpuArchitecture"] == "X86_64"
    containers = {each["Name"]: each for each in definition["ContainerDefinitions"]}
    assert all(each["ReadonlyRootFilesystem"] for each in containers.values())
    service = containers["service"]
    assert service["User"] == "10001"
    assert service["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert [each["Name"] for each in service["Secrets"]] == ["OPENBLIP_CACHE_URL"]
    assert service["DependsOn"] == [{"Condition": "SUCCESS", "ContainerName": "prepare"}]
    assert ":1.2.3" in json.dumps(service["Image"])


def test_a_tasks_role_may_do_nothing_without_a_library(assembly: Assembly) -> None:
    template = assembly.json("service")["Resources"]
    policies = [each["Properties"] for each in template.values() if each["Type"] == "AWS::IAM::Policy"]
    assert [role for policy in policies for role in policy["Roles"] if "TaskRole" in json.dumps(role)] == []


def test_what_tasks_are_told_are_settings_of_the_service(assembly: Assembly) -> None:
    definition = only(assembly.templates["service"], "AWS::ECS::TaskDefinition")
    [service] = [each for each in definition["ContainerDefinitions"] if each["Name"] == "service"]
    told = {each["Name"]: each["Value"] for each in service["Environment"]}
    own = {name.removeprefix("OPENBLIP_").lower(): value for name, value in told.items() if name[:9] == "OPENBLIP_"}
    assert set(own) <= set(ServeSettings.model_fields)
    settings = ServeSettings(**own)
    drain = DEFAULTS.drain
    assert (settings.timeout_s, settings.notice_s, settings.drain_s) == (drain.request_s, drain.notice_s, drain.drain_s)
    assert settings.body_timeout_s == drain.body_s
    assert settings.drain_s > settings.body_timeout_s + settings.timeout_s
    assert settings.figures_s == DEFAULTS.service.figures_s
    assert service["StopTimeout"] == drain.stop_s > settings.notice_s + settings.drain_s


def test_the_balancer_is_private_speaks_tls_and_waits_for_what_is_in_hand(assembly: Assembly) -> None:
    template = assembly.templates["service"]
    template.has_resource_properties("AWS::ElasticLoadBalancingV2::LoadBalancer", {"Scheme": "internal"})
    template.resource_properties_count_is("AWS::ElasticLoadBalancingV2::Listener", {"Protocol": "HTTPS"}, 1)
    template.resource_count_is("AWS::ElasticLoadBalancingV2::Listener", 1)
    targets = only(template, "AWS::ElasticLoadBalancingV2::TargetGroup")
    assert targets["HealthCheckPath"] == "/readyz"
    attributes = {each["Key"]: each["Value"] for each in targets["TargetGroupAttributes"]}
    assert int(attributes["deregistration_delay.timeout_seconds"]) == DEFAULTS.drain.deregistration_s
    noticed_s = targets["HealthCheckIntervalSeconds"] * targets["UnhealthyThresholdCount"]
    assert noticed_s < DEFAULTS.drain.notice_s, "a Spot task says no for long enough to be noticed"


def test_a_deployment_that_fails_is_rolled_back(assembly: Assembly) -> None:
    deployment = only(assembly.templates["service"], "AWS::ECS::Service")["DeploymentConfiguration"]
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert deployment["MinimumHealthyPercent"] == 100


def test_scaling_follows_work_in_hand_with_requests_as_a_guard(assembly: Assembly) -> None:
    template = assembly.templates["service"]
    scaling = DEFAULTS.scaling
    target = only(template, "AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (scaling.minimum, scaling.maximum)
    minimums = [each["ScalableTargetAction"]["MinCapacity"] for each in target["ScheduledActions"]]
    assert minimums == [each.minimum for each in scaling.scheduled]
    policies = assembly.resources("service", "AWS::ApplicationAutoScaling::ScalingPolicy")
    own, guard = (each["TargetTrackingScalingPolicyConfiguration"] for each in policies)
    metric = own["CustomizedMetricSpecification"]
    assert (metric["Namespace"], metric["MetricName"], metric["Statistic"]) == (NAMESPACE, "InFlight", "Average")
    assert metric["Dimensions"] == [{"Name": "Service", "Value": DEFAULTS.name}]
    assert own["TargetValue"] == scaling.target_in_flight
    assert guard["PredefinedMetricSpecification"]["PredefinedMetricType"] == "ALBRequestCountPerTarget"
    assert guard["TargetValue"] == scaling.target_requests_per_minute
    for policy in (own, guard):
        assert policy["ScaleInCooldown"] >= DEFAULTS.drain.longest_s, "no task is taken while another drains"


def test_the_metric_that_scaling_follows_is_the_one_that_tasks_write() -> None:
    from openblip.serve.figures import Figures, Level
    from openblip.serve.metrics import Metrics

    line = json.loads(Figures(Metrics(), Level(), lambda: 0, DEFAULTS.name).line())
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], line["Service"]) == (NAMESPACE, DEFAULTS.name)
    assert "InFlight" in {each["Name"] for each in directive["Metrics"]}


def test_the_firewall_counts_requests_of_an_address(assembly: Assembly) -> None:
    acl = only(assembly.templates["firewall"], "AWS::WAFv2::WebACL")
    assert acl["Scope"] == "CLOUDFRONT"
    rate = next(rule for rule in acl["Rules"] if rule["Name"] == "Rate")
    assert rate["Action"] == {"Block": {}}
    assert rate["Statement"]["RateBasedStatement"]["Limit"] == DEFAULTS.web.requests_per_5_minutes


def test_cloudfront_is_the_one_public_door(assembly: Assembly) -> None:
    template = assembly.templates["web"]
    distribution = only(template, "AWS::CloudFront::Distribution")["DistributionConfig"]
    assert distribution["Aliases"] == [DEFAULTS.web.domain]
    assert distribution["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert "WebACLId" in distribution
    behaviors = {each["PathPattern"]: each for each in distribution["CacheBehaviors"]}
    assert set(behaviors) == {"/v1/*", "/docs", "/openapi.json", "/readyz"}
    assert {each["ViewerProtocolPolicy"] for each in behaviors.values()} == {"https-only"}
    assert distribution["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "redirect-to-https"
    template.has_resource_properties(
        "AWS::CloudFront::VpcOrigin", {"VpcOriginEndpointConfig": {"OriginProtocolPolicy": "https-only"}}
    )
    reads = [each["OriginReadTimeout"] for origin in distribution["Origins"] if (each := origin.get("VpcOriginConfig"))]
    assert reads
    assert min(reads) > DEFAULTS.drain.request_s


def test_all_that_the_page_needs_is_asked_of_the_service(assembly: Assembly) -> None:
    from deploy.stacks.web import SERVICE_PATHS

    files = [*(CHECKOUT / "web" / "lib").rglob("*.ts"), *(CHECKOUT / "web" / "components").rglob("*.tsx")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.name != "schema.ts"]
    address = re.compile(r"""["'`](/(?:v1/|readyz|healthz|metrics|docs|openapi)[a-z/.]*)""")
    asked = {found for text in texts for found in address.findall(text)}
    assert {"/readyz", "/v1/caption", "/metrics"} <= asked
    refused = {path for path in asked if not any(fnmatch(path, pattern) for pattern in SERVICE_PATHS)}
    assert refused == {"/metrics"}, "without which the page does not show the queue"


def test_the_page_has_the_policy_of_the_scripts_that_were_built(assembly: Assembly) -> None:
    headers = assembly.resources("web", "AWS::CloudFront::ResponseHeadersPolicy")
    found = [each["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"] for each in headers]
    [policy] = [
        each["ContentSecurityPolicy"]["ContentSecurityPolicy"] for each in found if "ContentSecurityPolicy" in each
    ]
    assert policy == page_policy(["sha256-abc="])
    assert all(each["StrictTransportSecurity"]["AccessControlMaxAgeSec"] == 31_536_000 for each in found)


def test_a_bulk_job_goes_on_after_spot_took_it(assembly: Assembly) -> None:
    template = assembly.templates["bulk"]
    assert only(template, "AWS::Batch::ComputeEnvironment")["ComputeResources"]["Type"] == "FARGATE_SPOT"
    job = only(template, "AWS::Batch::JobDefinition")
    assert job["RetryStrategy"]["Attempts"] == 10
    final = {(each["Action"], each["OnExitCode"]) for each in job["RetryStrategy"]["EvaluateOnExit"]}
    assert final == {("EXIT", "0"), ("EXIT", "1"), ("EXIT", "2")}, "all else is tried again"
    container = job["ContainerProperties"]
    assert container["ReadonlyRootFilesystem"]
    assert container["NetworkConfiguration"] == {"AssignPublicIp": "DISABLED"}
    volume = container["Volumes"][0]["EfsVolumeConfiguration"]
    assert volume["TransitEncryption"] == "ENABLED"
    template.has_resource_properties("AWS::EFS::FileSystem", {"Encrypted": True})


def test_whoever_brings_pictures_to_jobs_is_told_where_and_by_which_group(assembly: Assembly) -> None:
    template = assembly.json("bulk")
    resources, outputs = template["Resources"], template["Outputs"]
    kinds = {"FileSystem": "AWS::EFS::FileSystem", "FilesAccessPoint": "AWS::EFS::AccessPoint"}
    assert {name: resources[outputs[name]["Value"]["Ref"]]["Type"] for name in kinds} == kinds
    point = resources[outputs["FilesAccessPoint"]["Value"]["Ref"]]["Properties"]
    assert (point["RootDirectory"]["Path"], point["PosixUser"]["Uid"]) == ("/openblip", "10001")
    rules = [each for each in resources.values() if each["Type"] == "AWS::EC2::SecurityGroupIngress"]
    [rule] = [each["Properties"] for each in rules if each["Properties"]["FromPort"] == 2049]
    assert rule["SourceSecurityGroupId"] == outputs["JobsGroup"]["Value"]


def test_each_alarm_tells_someone_and_names_its_page(assembly: Assembly) -> None:
    alarms = assembly.resources("observability", "AWS::CloudWatch::Alarm")
    page = (CHECKOUT / "docs" / "runbook.md").read_text(encoding="utf-8")
    names = {each["AlarmName"].removeprefix("openblip-") for each in alarms}
    assert names == {"slow", "errors", "refusals", "cachedown", "down", "unhealthy", "full", "silent"}
    assert [name for name in names if f"\n## {name}\n" not in page] == []
    for alarm in alarms:
        assert alarm["AlarmActions"]
        kind = alarm["AlarmName"].removeprefix("openblip-")
        assert alarm["AlarmDescription"].endswith(f"docs/runbook.md#{kind}")


def alarm(assembly: Assembly, name: str) -> dict[str, Any]:
    """The properties of one."""
    alarms = assembly.resources("observability", "AWS::CloudWatch::Alarm")
    [found] = [each for each in alarms if each["AlarmName"] == f"openblip-{name}"]
    return found


def test_no_task_at_all_is_an_alarm_though_nothing_says_so(assembly: Assembly) -> None:
    down = alarm(assembly, "down")
    assert (down["MetricName"], down["Statistic"]) == ("HealthyHostCount", "Maximum")
    assert (down["ComparisonOperator"], down["Threshold"]) == ("LessThanThreshold", 1)
    assert (down["Period"], down["EvaluationPeriods"], down["TreatMissingData"]) == (60, 2, "breaching")


@pytest.mark.parametrize(
    ("requests", "targets", "balancer", "share"),
    [
        (200, 3, 1, 0.02),
        (200, None, 5, 0.025),
        (200, None, None, 0),
        (None, None, 7, 1),  # no task: the balancer answers 503, and counts no request
        (2, None, 40, 1),
        (None, None, None, 0),
    ],
)
def test_what_no_task_answers_is_an_error(
    assembly: Assembly, requests: int | None, targets: int | None, balancer: int | None, share: float
) -> None:
    """The alarm's expressions, computed. What CloudWatch has no value of is not a number."""
    queries = {each["Id"]: each for each in alarm(assembly, "errors")["Metrics"]}
    given = {"requests": requests, "targets": targets, "balancer": balancer}
    functions = {
        "FILL": lambda series, value: value if np.isnan(series) else series,
        "IF": lambda condition, then, otherwise: then if condition else otherwise,
    }

    def value(name: str) -> Any:
        if "Expression" not in queries[name]:
            return np.float64(np.nan if given[name] is None else given[name])
        text = queries[name]["Expression"]
        named = {each: value(each) for each in re.findall(r"[a-z]\w*", text)}
        return np.float64(eval(text, functions, named))

    [asked] = [name for name, each in queries.items() if each.get("ReturnData", True)]
    with np.errstate(invalid="ignore"):
        assert value(asked) == pytest.approx(share)


def test_the_runbook_names_the_settings_as_they_are() -> None:
    from deploy.stacks.data import MOST_CACHE_GB, MOST_CACHE_UNITS

    page = (CHECKOUT / "docs" / "runbook.md").read_text(encoding="utf-8")
    limits, service, web = DEFAULTS.alarms, DEFAULTS.service, DEFAULTS.web
    words = [
        f"`p99_s` ({limits.p99_s:g} s)",
        f"`error_share` ({limits.error_share:.0%})",
        f"`refused_share` ({limits.refused_share:.0%})",
        f"`maximum` ({DEFAULTS.scaling.maximum})",
        f"`rate` of `[service]` ({service.rate})",
        f"`requests_per_5_minutes` of `[web]` ({web.requests_per_5_minutes:,})",
        f"holds {MOST_CACHE_GB} GB",
        f"takes {MOST_CACHE_UNITS:,} units a second",
    ]
    assert [each for each in words if each not in page] == []


def test_cloudwatch_may_publish_to_the_topic_and_use_its_key(assembly: Assembly) -> None:
    [topic] = assembly.resources("observability", "AWS::SNS::TopicPolicy")
    [key] = assembly.resources("observability", "AWS::KMS::Key")
    for document, wanted in (
        (topic["PolicyDocument"], "sns:Publish"),
        (key["KeyPolicy"], ["kms:Decrypt", "kms:GenerateDataKey*"]),
    ):
        [given] = [
            each
            for each in document["Statement"]
            if each["Principal"] == {"Service": "cloudwatch.amazonaws.com"} and each["Effect"] == "Allow"
        ]
        assert given["Action"] == wanted
        assert given["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_logs_end_and_insights_are_on(assembly: Assembly) -> None:
    groups = [
        each for stack in ("network", "service", "bulk") for each in assembly.resources(stack, "AWS::Logs::LogGroup")
    ]
    assert [each["RetentionInDays"] for each in groups] == [DEFAULTS.service.log_days] * 3
    cluster = only(assembly.templates["service"], "AWS::ECS::Cluster")
    assert cluster["ClusterSettings"] == [{"Name": "containerInsights", "Value": "enhanced"}]
    assembly.templates["observability"].resource_count_is("AWS::CloudWatch::Dashboard", 1)
