"""Where the image lies before there is a service that runs it. Knows no service."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_ecr as ecr
from constructs import Construct

from deploy.settings import Settings
from deploy.stacks.storage import KEPT

_KEPT_IMAGES = 30


class Registry(Stack):
    """A repository whose tags cannot be moved and whose images are scanned as they come."""

    def __init__(self, scope: Construct, name: str, settings: Settings, **given: Any) -> None:
        super().__init__(scope, name, **given)
        self.repository = ecr.Repository(
            self,
            "Images",
            repository_name=settings.name,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            image_scan_on_push=True,
            encryption=ecr.RepositoryEncryption.AES_256,
            removal_policy=KEPT,
            lifecycle_rules=[ecr.LifecycleRule(description="The newest are kept", max_image_count=_KEPT_IMAGES)],
        )
        CfnOutput(self, "Repository", value=self.repository.repository_uri)
