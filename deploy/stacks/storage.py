"""Buckets and log groups as every stack makes them: private, encrypted, over TLS alone. Knows no stack."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

KEPT = RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
"""It outlives its stack; but a stack whose first deployment fails leaves nothing behind whose name is then taken."""
_RETENTION = {
    1: logs.RetentionDays.ONE_DAY,
    3: logs.RetentionDays.THREE_DAYS,
    5: logs.RetentionDays.FIVE_DAYS,
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    60: logs.RetentionDays.TWO_MONTHS,
    90: logs.RetentionDays.THREE_MONTHS,
    120: logs.RetentionDays.FOUR_MONTHS,
    150: logs.RetentionDays.FIVE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
    400: logs.RetentionDays.THIRTEEN_MONTHS,
}


def log_group(scope: Construct, name: str, days: int) -> logs.LogGroup:
    """A group whose lines are kept for so many days."""
    return logs.LogGroup(scope, name, retention=_RETENTION[days], removal_policy=RemovalPolicy.DESTROY)


def private_bucket(
    scope: Construct,
    name: str,
    *,
    named: str | None = None,
    logged_to: s3.IBucket | None = None,
    expire_days: int | None = None,
    keep: bool = True,
    versioned: bool = False,
    object_ownership: s3.ObjectOwnership = s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
) -> s3.Bucket:
    """A bucket that nobody can make public. keep: it outlives its stack. expire_days: of its objects."""
    rules = [s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(7))]
    if expire_days is not None:
        rules.append(s3.LifecycleRule(expiration=Duration.days(expire_days)))
    if versioned:
        rules.append(s3.LifecycleRule(noncurrent_version_expiration=Duration.days(30)))
    return s3.Bucket(
        scope,
        name,
        bucket_name=named,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        object_ownership=object_ownership,
        versioned=versioned,
        lifecycle_rules=rules,
        server_access_logs_bucket=logged_to,
        server_access_logs_prefix=f"{name.lower()}/" if logged_to is not None else None,
        removal_policy=KEPT if keep else RemovalPolicy.DESTROY,
    )
