"""More and more users, for Locust: give it beside locustfile.py (-f locustfile.py,steps.py) and the steps as
--steps."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from locust import LoadTestShape, events


def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--steps", default="1,4,16,64", help="users of each step")
    parser.add_argument("--step-seconds", type=float, default=15.0, help="of each")


events.init_command_line_parser.add_listener(_options)


class Steps(LoadTestShape):  # type: ignore[misc]
    """Users rise from step to step at once."""

    def tick(self) -> tuple[int, float] | None:
        """Users and users a second to start, or the end."""
        options: Any = self.runner.environment.parsed_options
        steps = [int(users) for users in options.steps.split(",")]
        step = int(self.get_run_time() // options.step_seconds)
        return (steps[step], float(max(steps))) if step < len(steps) else None
