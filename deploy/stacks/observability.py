"""What is watched: a dashboard, and alarms that name the page of the runbook. Knows metrics by their names."""

from __future__ import annotations

from typing import Any

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_elasticloadbalancingv2 as balancing
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from deploy.settings import Settings
from deploy.stacks.scaling import own_metric
from deploy.stacks.service import Service

_RUNBOOK = "docs/runbook.md"
_MINUTE = Duration.minutes(1)


class Observability(Stack):
    """Alarms go to one topic, and from there to an address, if there is one."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        service: Service,
        cache: elasticache.CfnServerlessCache,
        **given: Any,
    ) -> None:
        super().__init__(scope, name, **given)
        self._settings, self._service = settings, service
        self._cache_name = f"{settings.name}-cache"
        self.topic = self._topic()
        self.alarms = self._alarms()
        for alarm in self.alarms:
            alarm.add_alarm_action(actions.SnsAction(self.topic))
            alarm.add_ok_action(actions.SnsAction(self.topic))
        self._dashboard()

    def _topic(self) -> sns.Topic:
        key = kms.Key(
            self,
            "Key",
            enable_key_rotation=True,
            description="Of the alarms' topic",
            removal_policy=RemovalPolicy.DESTROY,  # it hides messages on their way, and none is kept
        )
        topic = sns.Topic(self, "Alarms", master_key=key, enforce_ssl=True)
        # Alarms are not of the account's people: without these two no message leaves CloudWatch, and nothing says so.
        alarms = iam.ServicePrincipal("cloudwatch.amazonaws.com")
        ours = {"StringEquals": {"aws:SourceAccount": self.account}}
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[alarms], actions=["kms:Decrypt", "kms:GenerateDataKey*"], resources=["*"], conditions=ours
            )
        )
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[alarms], actions=["sns:Publish"], resources=[topic.topic_arn], conditions=ours
            )
        )
        if self._settings.alarms.email:
            topic.add_subscription(subscriptions.EmailSubscription(self._settings.alarms.email))
        return topic

    def _alarms(self) -> list[cloudwatch.Alarm]:
        limits, scaling = self._settings.alarms, self._settings.scaling
        return [
            self._alarm("Slow", self._p99(), limits.p99_s, 5, "p99 of the load balancer's targets, seconds"),
            self._alarm("Errors", self._share_of_errors(), limits.error_share, 3, "Share of answers that are 5xx"),
            self._alarm("Refusals", self._share_refused(), limits.refused_share, 3, "Share of requests refused (429)"),
            self._alarm("CacheDown", self._own("CacheFailures", "Sum"), 60, 3, "Cache operations that failed"),
            self._alarm("Down", self._healthy(), 0, 2, "Tasks that pass /readyz: there is none", 1),
            self._alarm("Unhealthy", self._unhealthy(), 0, 5, "Tasks that do not pass /readyz"),
            self._alarm("Full", self._tasks(), scaling.maximum - 1, 10, "Tasks: as many as scaling may start"),
            self._alarm(
                "Silent", self._own("InFlight", "SampleCount"), 0, 5, "Lines of figures: scaling needs them", 1
            ),
        ]

    def _alarm(
        self, name: str, metric: cloudwatch.IMetric, limit: float, minutes: int, about: str, below: int = 0
    ) -> cloudwatch.Alarm:
        """Above the limit for so many minutes; or, with `below`, under that, where nothing at all is an alarm too."""
        operators = cloudwatch.ComparisonOperator
        missing = cloudwatch.TreatMissingData
        return cloudwatch.Alarm(
            self,
            name,
            alarm_name=f"{self._settings.name}-{name.lower()}",
            alarm_description=f"{about}. {_RUNBOOK}#{name.lower()}",
            metric=metric,
            threshold=below or limit,
            evaluation_periods=minutes,
            comparison_operator=operators.LESS_THAN_THRESHOLD if below else operators.GREATER_THAN_THRESHOLD,
            treat_missing_data=missing.BREACHING if below else missing.NOT_BREACHING,
        )

    def _own(self, name: str, statistic: str) -> cloudwatch.Metric:
        return own_metric(self._settings, name, statistic)

    def _p99(self) -> cloudwatch.IMetric:
        return self._service.balancer.metrics.target_response_time(statistic="p99", period=_MINUTE)

    def _share_of_errors(self) -> cloudwatch.IMetric:
        """The balancer does not count requests for which it has no task, and answers them with 503: where it counted
        fewer than failed, all failed. What did not happen in a minute has no value, not 0."""
        metrics = self._service.balancer.metrics
        failed = cloudwatch.MathExpression(
            expression="FILL(targets, 0) + FILL(balancer, 0)",
            using_metrics={
                "targets": metrics.http_code_target(balancing.HttpCodeTarget.TARGET_5XX_COUNT, period=_MINUTE),
                "balancer": metrics.http_code_elb(balancing.HttpCodeElb.ELB_5XX_COUNT, period=_MINUTE),
            },
            period=_MINUTE,
        )
        counted = cloudwatch.MathExpression(
            expression="FILL(requests, 0)",
            using_metrics={"requests": metrics.request_count(period=_MINUTE)},
            period=_MINUTE,
        )
        return cloudwatch.MathExpression(
            expression="IF(failed > 0, failed / IF(counted > failed, counted, failed), 0)",
            using_metrics={"failed": failed, "counted": counted},
            period=_MINUTE,
        )

    def _share_refused(self) -> cloudwatch.IMetric:
        return cloudwatch.MathExpression(
            expression="IF(asked > 0, refused / asked, 0)",
            using_metrics={"refused": self._own("Refused", "Sum"), "asked": self._own("Requests", "Sum")},
            period=_MINUTE,
        )

    def _healthy(self) -> cloudwatch.IMetric:
        """Of the balancer's nodes, one a zone, the one that knows most: 0 is none anywhere, not none in a zone."""
        return self._service.targets.metrics.healthy_host_count(statistic="Maximum", period=_MINUTE)

    def _unhealthy(self) -> cloudwatch.IMetric:
        return self._service.targets.metrics.unhealthy_host_count(statistic="Maximum", period=_MINUTE)

    def _tasks(self) -> cloudwatch.IMetric:
        return cloudwatch.Metric(
            namespace="ECS/ContainerInsights",
            metric_name="RunningTaskCount",
            dimensions_map={"ClusterName": self._settings.name, "ServiceName": self._settings.name},
            statistic="Maximum",
            period=_MINUTE,
        )

    def _cache(self, name: str, statistic: str) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/ElastiCache",
            metric_name=name,
            dimensions_map={"clusterId": self._cache_name},
            statistic=statistic,
            period=_MINUTE,
        )

    def _dashboard(self) -> None:
        service = self._service
        board = cloudwatch.Dashboard(self, "Dashboard", dashboard_name=self._settings.name)
        board.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", alarms=self.alarms, width=24, height=2))
        median = service.balancer.metrics.target_response_time(statistic="p50", period=_MINUTE)
        board.add_widgets(
            _graph("Requests, a minute", self._own("Requests", "Sum"), self._own("Refused", "Sum")),
            _graph("Seconds: p50 and p99", median, self._p99()),
            _graph("Share of 5xx and of refusals", self._share_of_errors(), self._share_refused()),
        )
        board.add_widgets(
            _graph("In hand, a task: what scaling follows", self._own("InFlight", "Average")),
            _graph("Pictures that wait, at most", self._own("Waiting", "Maximum")),
            _graph("Tasks", self._tasks(), self._unhealthy()),
        )
        board.add_widgets(
            _graph(
                "CPU and memory, percent",
                service.fargate.metric_cpu_utilization(period=_MINUTE),
                service.fargate.metric_memory_utilization(period=_MINUTE),
            ),
            _graph("Cache: hits and misses", self._cache("CacheHits", "Sum"), self._cache("CacheMisses", "Sum")),
            _graph("Cache: failures that tasks saw", self._own("CacheFailures", "Sum")),
        )


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=8)
