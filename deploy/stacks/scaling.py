"""How many tasks there are: `Scaling` as policies of Application Auto Scaling. Knows the metric by its name."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_applicationautoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as balancing

from deploy.settings import Settings
from openblip.serve.figures import NAMESPACE


def own_metric(settings: Settings, name: str, statistic: str) -> cloudwatch.Metric:
    """One of the figures that tasks write (openblip.serve.figures), of all tasks together."""
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=name,
        dimensions_map={"Service": settings.name},
        statistic=statistic,
        period=Duration.seconds(settings.scaling.period_s),
    )


def scale(service: ecs.FargateService, targets: balancing.ApplicationTargetGroup, settings: Settings) -> None:
    """Track the requests in hand of a task, and those that the load balancer sends it; keep the minimum of the hour.

    Where the two disagree the larger number of tasks is taken. A task is never taken while another may still be
    draining (`Settings` sees to the cooldown), and ECS takes none in the middle of a deployment.
    """
    scaling = settings.scaling
    count = service.auto_scale_task_count(min_capacity=scaling.minimum, max_capacity=scaling.maximum)
    out, into = Duration.seconds(scaling.scale_out_cooldown_s), Duration.seconds(scaling.scale_in_cooldown_s)
    count.scale_to_track_custom_metric(
        "InFlight",
        metric=own_metric(settings, "InFlight", "Average"),
        target_value=scaling.target_in_flight,
        scale_out_cooldown=out,
        scale_in_cooldown=into,
    )
    count.scale_on_request_count(
        "Requests",
        requests_per_target=scaling.target_requests_per_minute,
        target_group=targets,
        scale_out_cooldown=out,
        scale_in_cooldown=into,
    )
    for each in scaling.scheduled:
        count.scale_on_schedule(
            each.name.title().replace("-", ""),
            schedule=autoscaling.Schedule.cron(hour=each.hour, minute=each.minute, week_day=each.week_day),
            min_capacity=each.minimum,
        )
