"""The service: a cluster, tasks behind a private load balancer, and how many there are. Knows no DNS."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, CfnParameter, Duration, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as balancing
from constructs import Construct

from deploy.settings import Settings
from deploy.stacks.container import Image, add_service, allow_library, empty_task
from deploy.stacks.data import Data
from deploy.stacks.network import CIDR
from deploy.stacks.scaling import scale
from deploy.stacks.storage import log_group

_HEALTH = "/readyz"
_SPOT_WEIGHTS = 100


class Service(Stack):
    """Fargate tasks in private subnets behind a load balancer that only CloudFront reaches."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        vpc: ec2.IVpc,
        data: Data,
        repository: ecr.IRepository,
        version: str,
        **given: Any,
    ) -> None:
        super().__init__(scope, name, **given)
        self._settings = settings
        self.log = log_group(self, "Log", settings.service.log_days)
        self.cluster = ecs.Cluster(
            self,
            "Cluster",
            vpc=vpc,
            cluster_name=settings.name,
            container_insights_v2=ecs.ContainerInsights.ENHANCED,
            enable_fargate_capacity_providers=True,
        )
        definition = empty_task(self, "Task", settings.task)
        add_service(definition, settings, Image(repository, version), data, self.log)
        if settings.service.library:
            allow_library(definition, data)
        self.group = ec2.SecurityGroup(self, "Tasks", vpc=vpc, allow_all_outbound=False, description="Tasks")
        self.balancer = self._balancer(vpc, data)
        self._allow(vpc, data)
        self.fargate = self._fargate(definition)
        self.targets = self._targets(vpc)
        self._listen()
        scale(self.fargate, self.targets, settings)
        CfnOutput(self, "ClusterName", value=self.cluster.cluster_name)
        CfnOutput(self, "ServiceName", value=self.fargate.service_name)
        CfnOutput(self, "Image", value=version)

    def _balancer(self, vpc: ec2.IVpc, data: Data) -> balancing.ApplicationLoadBalancer:
        group = ec2.SecurityGroup(self, "Balancer", vpc=vpc, allow_all_outbound=False, description="Load balancer")
        listed = ec2.Peer.prefix_list(self._settings.web.prefix_list)
        group.add_ingress_rule(listed, ec2.Port.tcp(443), "CloudFront")
        group.add_ingress_rule(ec2.Peer.ipv4(CIDR), ec2.Port.tcp(443), "CloudFront's interfaces in this network")
        balancer = balancing.ApplicationLoadBalancer(
            self,
            "LoadBalancer",
            vpc=vpc,
            internet_facing=False,
            security_group=group,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            deletion_protection=True,
            drop_invalid_header_fields=True,
            idle_timeout=Duration.seconds(60),
        )
        balancer.log_access_logs(data.access_logs, "balancer")
        return balancer

    def _allow(self, vpc: ec2.IVpc, data: Data) -> None:
        """The few ways there are: balancer to tasks, tasks to the cache, to the doors and to S3."""
        port = ec2.Port.tcp(self._settings.service.port)
        self.group.add_ingress_rule(self.balancer.connections.security_groups[0], port, "Load balancer")
        self.balancer.connections.security_groups[0].add_egress_rule(self.group, port, "Tasks")
        self.group.add_egress_rule(data.cache_group, data.cache_port, "Cache")
        ec2.CfnSecurityGroupIngress(
            self,
            "TasksToCache",
            group_id=data.cache_group.security_group_id,
            ip_protocol="tcp",
            from_port=6379,
            to_port=6379,
            source_security_group_id=self.group.security_group_id,
            description="Tasks",
        )
        # S3's addresses are public ones, but the only route to any is that of S3's gateway endpoint.
        self.group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "Doors to AWS, and S3")

    def _fargate(self, definition: ecs.FargateTaskDefinition) -> ecs.FargateService:
        scaling = self._settings.scaling
        spot = round(_SPOT_WEIGHTS * scaling.spot_share)
        strategies = [
            ecs.CapacityProviderStrategy(
                capacity_provider="FARGATE", base=scaling.minimum, weight=_SPOT_WEIGHTS - spot
            ),
            ecs.CapacityProviderStrategy(capacity_provider="FARGATE_SPOT", weight=spot),
        ]
        return ecs.FargateService(
            self,
            "Service",
            cluster=self.cluster,
            service_name=self._settings.name,
            task_definition=definition,
            assign_public_ip=False,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            security_groups=[self.group],
            capacity_provider_strategies=strategies if spot else strategies[:1],
            min_healthy_percent=100,
            max_healthy_percent=200,
            circuit_breaker=ecs.DeploymentCircuitBreaker(enable=True, rollback=True),
            availability_zone_rebalancing=ecs.AvailabilityZoneRebalancing.ENABLED,
            health_check_grace_period=Duration.seconds(120),
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
            enable_ecs_managed_tags=True,
        )

    def _targets(self, vpc: ec2.IVpc) -> balancing.ApplicationTargetGroup:
        settings = self._settings
        return balancing.ApplicationTargetGroup(
            self,
            "Targets",
            vpc=vpc,
            protocol=balancing.ApplicationProtocol.HTTP,
            port=settings.service.port,
            targets=[self.fargate.load_balancer_target(container_name="service", container_port=settings.service.port)],
            deregistration_delay=Duration.seconds(settings.drain.deregistration_s),
            load_balancing_algorithm_type=balancing.TargetGroupLoadBalancingAlgorithmType.LEAST_OUTSTANDING_REQUESTS,
            health_check=balancing.HealthCheck(
                path=_HEALTH,
                healthy_http_codes="200",
                interval=Duration.seconds(5),
                timeout=Duration.seconds(4),
                healthy_threshold_count=2,
                unhealthy_threshold_count=2,
            ),
        )

    def _listen(self) -> None:
        certificate = CfnParameter(
            self,
            "CertificateArn",
            description=f"Of an ACM certificate for {self._settings.web.domain} in this region",
            allowed_pattern="arn:aws:acm:.+",
        )
        self.balancer.add_listener(
            "Https",
            port=443,
            open=False,
            protocol=balancing.ApplicationProtocol.HTTPS,
            certificates=[balancing.ListenerCertificate.from_arn(certificate.value_as_string)],
            ssl_policy=balancing.SslPolicy.TLS13_RES,
            default_target_groups=[self.targets],
        )
