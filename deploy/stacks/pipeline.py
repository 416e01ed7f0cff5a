"""Who may deploy: a role that GitHub's workflows take by OIDC, without a stored key. Knows no workflow file."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from constructs import Construct

from deploy.settings import Settings
from deploy.stacks.explained import explain

_ISSUER = "token.actions.githubusercontent.com"
_BOOTSTRAP = "hnb659fds"  # CDK's qualifier, of an account where `cdk bootstrap` was run without another
_AUDIENCE = "sts.amazonaws.com"


class Pipeline(Stack):
    """A role for one environment of one repository. It may push images, take CDK's own roles, which do the rest, and
    put the page where CloudFront finds it."""

    def __init__(
        self, scope: Construct, name: str, settings: Settings, repository: ecr.IRepository, **given: Any
    ) -> None:
        super().__init__(scope, name, **given)
        asked = settings.pipeline
        subject = f"repo:{asked.repository}:environment:{asked.environment}"
        self.role = iam.Role(
            self,
            "Deploy",
            role_name=f"{settings.name}-deploy",
            description=f"Taken by {subject}",
            assumed_by=iam.WebIdentityPrincipal(
                asked.provider_arn or self._provider(),
                {"StringEquals": {f"{_ISSUER}:aud": _AUDIENCE, f"{_ISSUER}:sub": subject}},
            ),
            max_session_duration=Duration.hours(1),
        )
        repository.grant_pull_push(self.role)
        repository.grant(self.role, "ecr:DescribeImageScanFindings", "ecr:DescribeImages", "ecr:DescribeRepositories")
        self._allow_cdk()
        self._allow_page(settings)
        explain(self.role, "The token of the registry is of the account.", "AwsSolutions-IAM5[Resource::*]")
        CfnOutput(self, "DeployRole", value=self.role.role_arn)

    def _provider(self) -> str:
        provider = iam.CfnOIDCProvider(self, "GitHub", url=f"https://{_ISSUER}", client_id_list=[_AUDIENCE])
        return str(provider.attr_arn)

    def _allow_cdk(self) -> None:
        names = ("deploy-role", "file-publishing-role", "lookup-role")
        roles = [f"arn:aws:iam::{self.account}:role/cdk-{_BOOTSTRAP}-{each}-{self.account}-*" for each in names]
        self.role.add_to_policy(iam.PolicyStatement(actions=["sts:AssumeRole"], resources=roles))
        reason = "CDK's roles of this account in the regions that the stacks are in: their names end with the region."
        found = [f"arn:aws:iam::<AWS::AccountId>:role/cdk-{_BOOTSTRAP}-{each}-<AWS::AccountId>-*" for each in names]
        explain(self.role, reason, *(f"AwsSolutions-IAM5[Resource::{each}]" for each in found))

    def _allow_page(self, settings: Settings) -> None:
        """By the name that CloudFormation gives the page's bucket, which is made after this role."""
        bucket = f"arn:aws:s3:::{settings.name}-web-page*"
        files = iam.PolicyStatement(
            actions=["s3:ListBucket", "s3:PutObject", "s3:DeleteObject"], resources=[bucket, f"{bucket}/*"]
        )
        fresh = iam.PolicyStatement(
            actions=["cloudfront:CreateInvalidation"],
            resources=[f"arn:aws:cloudfront::{self.account}:distribution/*"],
        )
        told = iam.PolicyStatement(
            actions=["cloudformation:DescribeStacks"],
            resources=[f"arn:aws:cloudformation:*:{self.account}:stack/{settings.name}-*/*"],
        )
        for statement in (files, fresh, told):
            self.role.add_to_policy(statement)
        names = "Names that CloudFormation and CloudFront end as they like; they begin with the deployment's."
        own = "arn:aws:cloudfront::<AWS::AccountId>:distribution/*"
        stacks = f"arn:aws:cloudformation:*:<AWS::AccountId>:stack/{settings.name}-*/*"
        found = (bucket, f"{bucket}/*", own, stacks)
        explain(self.role, names, *(f"AwsSolutions-IAM5[Resource::{each}]" for each in found))
