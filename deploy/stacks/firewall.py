"""The firewall in front of CloudFront, which AWS has in us-east-1 alone. Knows no service."""

from __future__ import annotations

from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from deploy.settings import Settings

REGION = "us-east-1"
_MANAGED = ("AWSManagedRulesAmazonIpReputationList", "AWSManagedRulesKnownBadInputsRuleSet")


class Firewall(Stack):
    """So many requests of one address in five minutes, then 403; and what AWS knows to be bad.

    The common rule set is left out: it refuses bodies above 8 kB, and photos are larger.
    """

    def __init__(self, scope: Construct, name: str, settings: Settings, **given: Any) -> None:
        super().__init__(scope, name, **given)
        rules = [self._rate(settings), *(self._managed(each, at) for at, each in enumerate(_MANAGED, 1))]
        self.acl = waf.CfnWebACL(
            self,
            "Acl",
            scope="CLOUDFRONT",
            default_action=waf.CfnWebACL.DefaultActionProperty(allow=waf.CfnWebACL.AllowActionProperty()),
            visibility_config=_seen(f"{settings.name}-all"),
            rules=rules,
        )

    def _rate(self, settings: Settings) -> waf.CfnWebACL.RuleProperty:
        limit = waf.CfnWebACL.RateBasedStatementProperty(
            aggregate_key_type="IP", limit=settings.web.requests_per_5_minutes, evaluation_window_sec=300
        )
        return waf.CfnWebACL.RuleProperty(
            name="Rate",
            priority=0,
            action=waf.CfnWebACL.RuleActionProperty(block=waf.CfnWebACL.BlockActionProperty()),
            statement=waf.CfnWebACL.StatementProperty(rate_based_statement=limit),
            visibility_config=_seen(f"{settings.name}-rate"),
        )

    def _managed(self, name: str, priority: int) -> waf.CfnWebACL.RuleProperty:
        group = waf.CfnWebACL.ManagedRuleGroupStatementProperty(vendor_name="AWS", name=name)
        return waf.CfnWebACL.RuleProperty(
            name=name,
            priority=priority,
            override_action=waf.CfnWebACL.OverrideActionProperty(none={}),
            statement=waf.CfnWebACL.StatementProperty(managed_rule_group_statement=group),
            visibility_config=_seen(name),
        )


def _seen(name: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    return waf.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=True
    )
