"""What outlives a task: the cache of results, the bucket of the library, the keys. Knows no service."""

from __future__ import annotations

import json
from typing import Any

from aws_cdk import CfnOutput, Fn, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct

from deploy.settings import Settings
from deploy.stacks.explained import explain
from deploy.stacks.storage import KEPT, private_bucket

CACHE_USER = "openblip"
_ROTATION = "AwsSolutions-SMG4"
_CACHE_PORT = 6379
_CACHE_COMMANDS = "on ~* -@all +@connection +@read +@write +@scripting -@dangerous"
MOST_CACHE_GB = 10
MOST_CACHE_UNITS = 20_000  # ECPU a second: a small value read is one


class Data(Stack):
    """Valkey (ElastiCache Serverless) behind TLS and a password, the library's bucket, and secrets of tasks."""

    def __init__(self, scope: Construct, name: str, settings: Settings, vpc: ec2.IVpc, **given: Any) -> None:
        super().__init__(scope, name, **given)
        self.access_logs: s3.Bucket = private_bucket(self, "AccessLogs", expire_days=90)
        # Named by us, so that a task's role can name it without the export of another stack.
        self.library_name = f"{settings.name}-library-{self.account}-{settings.region}"
        self.library = private_bucket(
            self, "Library", named=self.library_name, logged_to=self.access_logs, versioned=True
        )
        self.cache_group = ec2.SecurityGroup(
            self, "CacheGroup", vpc=vpc, allow_all_outbound=False, description="Valkey"
        )
        self.cache_port = ec2.Port.tcp(_CACHE_PORT)
        password = self._password()
        self.cache = self._cache(settings, vpc, password)
        self.cache_url = self._cache_url(password)
        self.keys = self._keys()
        CfnOutput(self, "KeysSecret", value=self.keys.secret_arn)

    def _password(self) -> secrets.Secret:
        secret = secrets.Secret(
            self,
            "CachePassword",
            description="Of the cache's user",
            generate_secret_string=secrets.SecretStringGenerator(
                secret_string_template=json.dumps({"username": CACHE_USER}),
                generate_string_key="password",
                password_length=64,
                exclude_punctuation=True,  # it stands in a URL
            ),
        )
        explain(secret, "Tasks read it when they start: docs/runbook.md says how it is changed.", _ROTATION)
        return secret

    def _cache(self, settings: Settings, vpc: ec2.IVpc, password: secrets.Secret) -> elasticache.CfnServerlessCache:
        user = elasticache.CfnUser(
            self,
            "CacheUser",
            engine="valkey",
            user_id=f"{settings.name}-cache",
            user_name=CACHE_USER,
            access_string=_CACHE_COMMANDS,
            passwords=[password.secret_value_from_json("password").unsafe_unwrap()],
        )
        users = elasticache.CfnUserGroup(
            self, "CacheUsers", engine="valkey", user_group_id=f"{settings.name}-cache", user_ids=[user.ref]
        )
        return elasticache.CfnServerlessCache(
            self,
            "Cache",
            engine="valkey",
            major_engine_version="8",
            serverless_cache_name=f"{settings.name}-cache",
            description="Results that were computed once",
            subnet_ids=[subnet.subnet_id for subnet in vpc.isolated_subnets],
            security_group_ids=[self.cache_group.security_group_id],
            user_group_id=users.ref,
            cache_usage_limits=elasticache.CfnServerlessCache.CacheUsageLimitsProperty(
                data_storage=elasticache.CfnServerlessCache.DataStorageProperty(unit="GB", maximum=MOST_CACHE_GB),
                ecpu_per_second=elasticache.CfnServerlessCache.ECPUPerSecondProperty(maximum=MOST_CACHE_UNITS),
            ),
        )

    def _cache_url(self, password: secrets.Secret) -> secrets.CfnSecret:
        """As OPENBLIP_CACHE_URL wants it. A secret of its own, so that no task definition shows the password."""
        address, port = self.cache.attr_endpoint_address, self.cache.attr_endpoint_port
        found = password.secret_value_from_json("password").unsafe_unwrap()
        url = secrets.CfnSecret(
            self,
            "CacheUrl",
            description="OPENBLIP_CACHE_URL",
            secret_string=Fn.join("", ["rediss://", CACHE_USER, ":", found, "@", address, ":", port, "/0"]),
        )
        explain(url, "It follows from the cache's password and address.", _ROTATION)
        return url

    def _keys(self) -> secrets.Secret:
        """Filled by hand with the lines that `openblip key` prints; until then it holds a random text, which tasks
        that ask for keys refuse to start with."""
        secret = secrets.Secret(
            self, "Keys", description="Lines of OPENBLIP_API_KEYS: name, SHA-256", removal_policy=KEPT
        )
        explain(secret, "It holds hashes of the clients' keys, which their owners change.", _ROTATION)
        return secret
