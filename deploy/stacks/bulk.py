"""Jobs over many pictures: AWS Batch on Fargate, with files that outlive a job. Knows the command line's form alone."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, Duration, Size, Stack
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_efs as efs
from aws_cdk import aws_iam as iam
from constructs import Construct

from deploy.settings import Processor, Settings
from deploy.stacks.container import Image
from deploy.stacks.explained import explain
from deploy.stacks.storage import KEPT, log_group

_MOST_VCPUS = 64
_TRIES = 10
_NFS = 2049
_VERDICTS = ("0", "1", "2")
_FILES = "/files"
_COMMAND = ["caption", f"{_FILES}/pictures", "--output", f"{_FILES}/captions.jsonl"]


class Bulk(Stack):
    """A queue of jobs on Spot. A job that was taken away starts again and goes on where it was: pictures, output and
    journal lie on a file system (EFS), encrypted, that it reaches by one access point."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        vpc: ec2.IVpc,
        repository: ecr.IRepository,
        version: str,
        **given: Any,
    ) -> None:
        super().__init__(scope, name, **given)
        self._settings = settings
        self.group = ec2.SecurityGroup(self, "Jobs", vpc=vpc, allow_all_outbound=False, description="Bulk jobs")
        self.group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "Doors to AWS, and S3")
        self.files = self._files(vpc)
        self.point = self._access_point()
        environment = batch.FargateComputeEnvironment(
            self,
            "Environment",
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            security_groups=[self.group],
            spot=True,
            maxv_cpus=_MOST_VCPUS,
            replace_compute_environment=False,
        )
        queue = batch.JobQueue(self, "Queue", priority=1)
        queue.add_compute_environment(environment, 1)
        job = batch.EcsJobDefinition(
            self,
            "Job",
            container=self._container(Image(repository, version)),
            retry_attempts=_TRIES,
            # The command's own verdicts are final; whatever else ended it, Spot above all, is tried again.
            retry_strategies=[
                batch.RetryStrategy.of(batch.Action.EXIT, batch.Reason.custom(on_exit_code=code))
                for code in ("0", "1", "2")
            ],
            timeout=Duration.hours(24),
            propagate_tags=True,
        )
        CfnOutput(self, "JobQueue", value=queue.job_queue_name)
        CfnOutput(self, "JobDefinition", value=job.job_definition_name)
        # Whoever brings pictures needs these three: nothing else may reach the files.
        CfnOutput(self, "FileSystem", value=self.files.file_system_id)
        CfnOutput(self, "FilesAccessPoint", value=self.point.access_point_id)
        CfnOutput(self, "JobsGroup", value=self.group.security_group_id)

    def _files(self, vpc: ec2.IVpc) -> efs.FileSystem:
        files = efs.FileSystem(
            self,
            "Files",
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            encrypted=True,
            enable_automatic_backups=False,
            allow_anonymous_access=False,
            lifecycle_policy=efs.LifecyclePolicy.AFTER_30_DAYS,
            removal_policy=KEPT,
        )
        files.connections.allow_default_port_from(self.group, "Jobs")
        self.group.connections.allow_to(files, ec2.Port.tcp(_NFS), "Files")
        return files

    def _access_point(self) -> efs.AccessPoint:
        """What jobs see as /files is /openblip of the file system, and all that comes by it is of the image's user."""
        return self.files.add_access_point(
            "Jobs",
            path="/openblip",
            create_acl=efs.Acl(owner_uid="10001", owner_gid="10001", permissions="750"),
            posix_user=efs.PosixUser(uid="10001", gid="10001"),
        )

    def _container(self, image: Image) -> batch.EcsFargateContainerDefinition:
        role = iam.Role(self, "JobRole", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        self.files.grant(role, "elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite")
        size = self._settings.task
        graviton = size.processor is Processor.GRAVITON
        log = log_group(self, "Log", self._settings.service.log_days)
        container = batch.EcsFargateContainerDefinition(
            self,
            "Container",
            image=image.container,
            cpu=size.vcpus,
            memory=Size.gibibytes(size.memory_gb),
            command=_COMMAND,
            assign_public_ip=False,
            readonly_root_filesystem=True,
            user="10001",
            job_role=role,
            environment={
                "OPENBLIP_CACHE": f"{_FILES}/cache",
                "TMPDIR": _FILES,
                "OPENBLIP_MODEL": self._settings.service.model,
            },
            fargate_cpu_architecture=ecs.CpuArchitecture.ARM64 if graviton else ecs.CpuArchitecture.X86_64,
            fargate_operating_system_family=ecs.OperatingSystemFamily.LINUX,
            logging=ecs.LogDrivers.aws_logs(stream_prefix="bulk", log_group=log),
            volumes=[
                batch.EcsVolume.efs(
                    name="files",
                    file_system=self.files,
                    container_path=_FILES,
                    access_point_id=self.point.access_point_id,
                    enable_transit_encryption=True,
                    use_job_role=True,
                )
            ],
        )
        reason = "The token that lets the agent fetch from the registry is of the account, not of a repository."
        explain(container.execution_role, reason, "AwsSolutions-IAM5[Resource::*]")
        return container
