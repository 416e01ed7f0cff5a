"""The network: private subnets without a way out, and the doors to AWS that tasks need. Knows no service."""

from __future__ import annotations

from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from deploy.settings import Settings
from deploy.stacks.storage import log_group

CIDR = "10.0.0.0/16"
_DOORS = {
    "EcrApi": ec2.InterfaceVpcEndpointAwsService.ECR,
    "EcrDocker": ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    "Secrets": ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
}


class Network(Stack):
    """Two zones of isolated subnets: nothing in them has a public address, a NAT gateway or a route to the internet."""

    def __init__(self, scope: Construct, name: str, settings: Settings, **given: Any) -> None:
        super().__init__(scope, name, **given)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(CIDR),
            max_azs=2,
            nat_gateways=0,
            create_internet_gateway=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="Private", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=20)
            ],
        )
        self._add_gateway_for_cloudfront()
        self._add_doors()
        self._add_flow_log(settings)

    def _add_gateway_for_cloudfront(self) -> None:
        """CloudFront reaches a private load balancer only if the VPC has an internet gateway; no route leads there."""
        gateway = ec2.CfnInternetGateway(self, "Gateway")
        ec2.CfnVPCGatewayAttachment(self, "GatewayAttachment", vpc_id=self.vpc.vpc_id, internet_gateway_id=gateway.ref)

    def _add_doors(self) -> None:
        self.vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        group = ec2.SecurityGroup(self, "Doors", vpc=self.vpc, allow_all_outbound=False, description="Doors to AWS")
        group.add_ingress_rule(ec2.Peer.ipv4(CIDR), ec2.Port.tcp(443), "Tasks")
        for name, service in _DOORS.items():
            self.vpc.add_interface_endpoint(
                name, service=service, security_groups=[group], open=False, private_dns_enabled=True
            )

    def _add_flow_log(self, settings: Settings) -> None:
        """What the network refused: nothing else is kept, because flow logs of every packet cost more than tasks."""
        group = log_group(self, "Refused", settings.service.log_days)
        ec2.FlowLog(
            self,
            "FlowLog",
            resource_type=ec2.FlowLogResourceType.from_vpc(self.vpc),
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(group),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )
