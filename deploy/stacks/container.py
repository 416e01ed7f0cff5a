"""The task: the service's container with what it may write, what it is told and what it must not know before it runs.

Knows the image's paths and the service's settings (docs/settings.md), and no load balancer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from aws_cdk import Duration
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct

from deploy.settings import Processor, Settings, Task
from deploy.stacks.data import Data
from deploy.stacks.explained import explain
from deploy.stacks.network import CIDR

_USER = "10001"  # of the image, as its Dockerfile makes it
_KEYS = "/run/openblip/keys"
_WRITABLE = {"tmp": "/tmp", "cache": "/var/cache/openblip", "run": "/run/openblip"}
_ALIVE = (
    "from http.client import HTTPConnection as C; c = C('127.0.0.1', {port}, timeout=3); "
    "c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"
)
# A new volume belongs to root; the service does not run as root.
_PREPARE = (
    f"chown {_USER}:{_USER} {' '.join(_WRITABLE.values())}\n"
    f'if [ -n "$KEYS" ]; then umask 077; printf "%s\\n" "$KEYS" > {_KEYS}; chown {_USER}:{_USER} {_KEYS}; fi\n'
)


@dataclass(frozen=True, slots=True)
class Image:
    """Which of a repository: a tag, or a digest as sha256:..."""

    repository: ecr.IRepository
    version: str

    @property
    def container(self) -> ecs.ContainerImage:
        """As ECS takes it."""
        return ecs.ContainerImage.from_ecr_repository(self.repository, self.version)


def empty_task(scope: Construct, name: str, task: Task) -> ecs.FargateTaskDefinition:
    """A definition of that size, without containers; its roles may do nothing yet."""
    graviton = task.processor is Processor.GRAVITON
    return ecs.FargateTaskDefinition(
        scope,
        name,
        cpu=round(task.vcpus * 1024),
        memory_limit_mib=round(task.memory_gb * 1024),
        runtime_platform=ecs.RuntimePlatform(
            cpu_architecture=ecs.CpuArchitecture.ARM64 if graviton else ecs.CpuArchitecture.X86_64,
            operating_system_family=ecs.OperatingSystemFamily.LINUX,
        ),
    )


def add_service(
    definition: ecs.FargateTaskDefinition, settings: Settings, image: Image, data: Data, log: logs.ILogGroup
) -> ecs.ContainerDefinition:
    """The container that serves, and one before it that gives it what it may write."""
    for volume in _WRITABLE:
        definition.add_volume(name=volume)
    given = {"OPENBLIP_CACHE_URL": ecs.Secret.from_secrets_manager(_as_secret(definition, data))}
    prepare = _prepare(definition, settings, image, data, log)
    port, drain = settings.service.port, settings.drain
    service = definition.add_container(
        "service",
        image=image.container,
        command=["serve"],
        readonly_root_filesystem=True,
        user=_USER,
        environment=environment(settings, data),
        secrets=given,
        port_mappings=[ecs.PortMapping(container_port=port, name="http")],
        health_check=ecs.HealthCheck(
            command=["CMD", "python", "-IS", "-c", _ALIVE.format(port=port)],
            interval=Duration.seconds(10),
            timeout=Duration.seconds(5),
            retries=3,
            start_period=Duration.seconds(120),
        ),
        linux_parameters=_without_rights(definition),
        logging=ecs.LogDrivers.aws_logs(stream_prefix="service", log_group=log, mode=ecs.AwsLogDriverMode.NON_BLOCKING),
        stop_timeout=Duration.seconds(drain.stop_s),
        ulimits=[ecs.Ulimit(name=ecs.UlimitName.NOFILE, soft_limit=65_536, hard_limit=65_536)],
    )
    _mount(service)
    condition = ecs.ContainerDependencyCondition.SUCCESS
    service.add_container_dependencies(ecs.ContainerDependency(container=prepare, condition=condition))
    explain(definition, "The token of the registry is of the account.", "AwsSolutions-IAM5[Resource::*]")
    explain(definition, "Settings that are no secret; secrets come from Secrets Manager.", "AwsSolutions-ECS2")
    return service


def environment(settings: Settings, data: Data) -> dict[str, str]:
    """Of the service: its settings that are no secret."""
    service, drain = settings.service, settings.drain
    given = {
        "OPENBLIP_HOST": "0.0.0.0",
        "OPENBLIP_PORT": str(service.port),
        "OPENBLIP_MODEL": service.model,
        "OPENBLIP_RATE": service.rate,
        "OPENBLIP_PAGE": "false",  # CloudFront has it from the bucket
        "OPENBLIP_TRUSTED_PROXIES": CIDR,
        "OPENBLIP_TIMEOUT_S": str(drain.request_s),
        "OPENBLIP_BODY_TIMEOUT_S": str(drain.body_s),
        "OPENBLIP_NOTICE_S": str(drain.notice_s),
        "OPENBLIP_DRAIN_S": str(drain.drain_s),
        "OPENBLIP_FIGURES_S": str(service.figures_s),
        "OPENBLIP_FIGURES_NAME": settings.name,
        **{f"OPENBLIP_{name.upper()}": str(value) for name, value in asdict(service.limits).items()},
        "MALLOC_ARENA_MAX": "1",  # docs/serving.md, Memory
        "MALLOC_MMAP_THRESHOLD_": "1000000",
        "MALLOC_TRIM_THRESHOLD_": "1000000",
    }
    if service.keys:
        given["OPENBLIP_API_KEYS"] = _KEYS
    if service.library:
        given["OPENBLIP_LIBRARY"] = f"s3://{data.library_name}/photos.lance"
        given["AWS_REGION"] = settings.region
    return given


def _as_secret(scope: Construct, data: Data) -> secrets.ISecret:
    return secrets.Secret.from_secret_complete_arn(scope, "CacheUrl", data.cache_url.ref)


def _prepare(
    definition: ecs.FargateTaskDefinition, settings: Settings, image: Image, data: Data, log: logs.ILogGroup
) -> ecs.ContainerDefinition:
    keys = {"KEYS": ecs.Secret.from_secrets_manager(data.keys)} if settings.service.keys else {}
    prepare = definition.add_container(
        "prepare",
        image=image.container,
        essential=False,
        user="0",
        readonly_root_filesystem=True,
        entry_point=["/bin/sh", "-ec"],
        command=[_PREPARE],
        secrets=keys,
        logging=ecs.LogDrivers.aws_logs(stream_prefix="prepare", log_group=log),
    )
    _mount(prepare)
    return prepare


def _mount(container: ecs.ContainerDefinition) -> None:
    container.add_mount_points(
        *(
            ecs.MountPoint(source_volume=volume, container_path=path, read_only=False)
            for volume, path in _WRITABLE.items()
        )
    )


def _without_rights(scope: Construct) -> ecs.LinuxParameters:
    parameters = ecs.LinuxParameters(scope, "Linux", init_process_enabled=False)
    parameters.drop_capabilities(ecs.Capability.ALL)
    return parameters


def allow_library(definition: ecs.FargateTaskDefinition, data: Data) -> None:
    """Read and write the photo library, and nothing else of S3."""
    arn = f"arn:aws:s3:::{data.library_name}"
    s3.Bucket.from_bucket_arn(definition, "Library", arn).grant_read_write(definition.task_role)
    reason = "All objects of the one bucket that holds the library; LanceDB names its files itself."
    verbs = ("Abort", "DeleteObject", "GetObject", "GetBucket", "List")
    explain(definition.task_role, reason, *(f"AwsSolutions-IAM5[Action::s3:{verb}*]" for verb in verbs))
    named = arn.replace(data.account, "<AWS::AccountId>")
    explain(definition.task_role, reason, f"AwsSolutions-IAM5[Resource::{named}/*]")
