"""The deployment's stacks, put together. Run by the CDK (`cdk synth`), or as `python -m deploy.app`.

Reads `-c settings=FILE` (docs/deploy.md) and `-c version=TAG`, of the image, without which the stacks that run it
are not deployed. Asks no account for anything.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import Annotations, App, Environment, Tags, Validations
from cdk_nag import AwsSolutionsChecks

from deploy.settings import Settings
from deploy.settings_file import read_settings
from deploy.stacks.bulk import Bulk
from deploy.stacks.data import Data
from deploy.stacks.firewall import REGION as FIREWALL_REGION
from deploy.stacks.firewall import Firewall
from deploy.stacks.network import Network
from deploy.stacks.observability import Observability
from deploy.stacks.pipeline import Pipeline
from deploy.stacks.registry import Registry
from deploy.stacks.service import Service
from deploy.stacks.web import Web
from openblip.errors import OpenBlipError
from openblip.serve.page import BUILT

LATEST = "latest"
_NO_VERSION = "no image is named: take deploy/scripts/deploy.sh, or add -c version=TAG (or its digest)"


@dataclass(frozen=True, slots=True)
class Stacks:
    """All of a deployment, in the order in which they stand on each other."""

    network: Network
    data: Data
    registry: Registry
    pipeline: Pipeline
    service: Service
    firewall: Firewall
    web: Web
    bulk: Bulk
    observability: Observability


def build(app: App, settings: Settings, version: str = LATEST, page: Path = BUILT) -> Stacks:
    """The stacks, each named after the deployment. version: of the image, its tag or digest."""
    here, name = Environment(region=settings.region), settings.name
    far = settings.region != FIREWALL_REGION
    network = Network(app, f"{name}-network", settings, env=here)
    data = Data(app, f"{name}-data", settings, network.vpc, env=here)
    registry = Registry(app, f"{name}-registry", settings, env=here)
    repository, vpc = registry.repository, network.vpc
    pipeline = Pipeline(app, f"{name}-pipeline", settings, repository, env=here)
    service = Service(
        app, f"{name}-service", settings, vpc=vpc, data=data, repository=repository, version=version, env=here
    )
    firewall = Firewall(
        app, f"{name}-firewall", settings, env=Environment(region=FIREWALL_REGION), cross_region_references=far
    )
    web = Web(
        app,
        f"{name}-web",
        settings,
        data=data,
        balancer=service.balancer,
        firewall_arn=firewall.acl.attr_arn,
        page=page,
        env=here,
        cross_region_references=far,
    )
    bulk = Bulk(app, f"{name}-bulk", settings, vpc=vpc, repository=repository, version=version, env=here)
    observability = Observability(app, f"{name}-observability", settings, service=service, cache=data.cache, env=here)
    Tags.of(app).add("project", name)
    return Stacks(network, data, registry, pipeline, service, firewall, web, bulk, observability)


def main() -> int:
    """Synthesise, with the rules of cdk-nag."""
    app = App()
    try:
        settings = read_settings(app.node.try_get_context("settings"))
    except OpenBlipError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    version = app.node.try_get_context("version")
    stacks = build(app, settings, version or LATEST)
    if not version:
        for stack in (stacks.service, stacks.bulk):
            Annotations.of(stack).add_error(_NO_VERSION)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
