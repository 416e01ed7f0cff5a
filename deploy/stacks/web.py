"""The one public door: CloudFront, with the page from a bucket and the interface from the private load balancer.

Knows the service's addresses and the built page's policy, no task.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aws_cdk import Annotations, CfnOutput, CfnParameter, Duration, Stack
from aws_cdk import aws_certificatemanager as certificates
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_elasticloadbalancingv2 as balancing
from constructs import Construct

from deploy.settings import Settings
from deploy.stacks.data import Data
from deploy.stacks.explained import explain
from deploy.stacks.storage import private_bucket
from openblip.serve.page import BUILT, page_policy

SERVICE_PATHS = ("/v1/*", "/docs", "/openapi.json", "/readyz")
"""What CloudFront asks the service for: the page asks /readyz too. /healthz and /metrics stay inside."""

_YEAR = Duration.days(365)


class Web(Stack):
    """CloudFront before the page's bucket and the load balancer, with TLS, headers and the firewall."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        data: Data,
        balancer: balancing.IApplicationLoadBalancer,
        firewall_arn: str,
        page: Path = BUILT,
        **given: Any,
    ) -> None:
        super().__init__(scope, name, **given)
        self._settings = settings
        self.bucket = private_bucket(self, "Page", logged_to=data.access_logs, keep=False)
        self.distribution = self._distribution(data, balancer, firewall_arn, self._page_headers(page))
        explain(self.distribution, "Who may read captions does not depend on where they are.", "AwsSolutions-CFR1")
        CfnOutput(self, "Address", value=f"https://{self.distribution.domain_name}")
        CfnOutput(self, "DistributionId", value=self.distribution.distribution_id)
        CfnOutput(self, "PageBucket", value=self.bucket.bucket_name)

    def _distribution(
        self,
        data: Data,
        balancer: balancing.IApplicationLoadBalancer,
        firewall_arn: str,
        headers: cloudfront.ResponseHeadersPolicy,
    ) -> cloudfront.Distribution:
        certificate = CfnParameter(
            self,
            "CertificateArn",
            description=f"Of an ACM certificate for {self._settings.web.domain} in us-east-1",
            allowed_pattern="arn:aws:acm:us-east-1:.+",
        )
        service = self._service(balancer)
        return cloudfront.Distribution(
            self,
            "Distribution",
            comment=self._settings.name,
            domain_names=[self._settings.web.domain],
            certificate=certificates.Certificate.from_certificate_arn(self, "Tls", certificate.value_as_string),
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            web_acl_id=firewall_arn,
            default_root_object="index.html",
            default_behavior=cloudfront.BehaviorOptions(
                origin=origins.S3BucketOrigin.with_origin_access_control(self.bucket),
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                cache_policy=cloudfront.CachePolicy.CACHING_OPTIMIZED,
                response_headers_policy=headers,
                compress=True,
            ),
            additional_behaviors=dict.fromkeys(SERVICE_PATHS, service),
            enable_logging=True,
            log_bucket=self._log_bucket(data),
            price_class=cloudfront.PriceClass.PRICE_CLASS_100,
        )

    def _service(self, balancer: balancing.IApplicationLoadBalancer) -> cloudfront.BehaviorOptions:
        """Nothing is cached here: answers are to pictures of someone's, and the service keeps results itself. The host
        is passed on, which the balancer's certificate is for."""
        seconds = Duration.seconds(60)  # CloudFront's most without a quota of one's own
        return cloudfront.BehaviorOptions(
            origin=origins.VpcOrigin.with_application_load_balancer(
                balancer,
                protocol_policy=cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
                origin_ssl_protocols=[cloudfront.OriginSslPolicy.TLS_V1_2],
                read_timeout=seconds,
                keepalive_timeout=Duration.seconds(55),
            ),
            allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
            cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
            origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER,
            response_headers_policy=cloudfront.ResponseHeadersPolicy(
                self,
                "ServiceHeaders",
                comment="The service sets its own; this adds what only its public door knows",
                security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(strict_transport_security=_hsts()),
            ),
            viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
            compress=True,
        )

    def _page_headers(self, page: Path) -> cloudfront.ResponseHeadersPolicy:
        """As `openblip.serve.page` sends them, with the hashes of the scripts of the page that was built."""
        policies = page / "policy.json"
        hashes: list[str] = []
        if policies.is_file():
            hashes = json.loads(policies.read_text(encoding="utf-8"))["index.html"]
        else:
            missing = "the page is not built: its scripts will not run until `make page` was run before the synthesis"
            Annotations.of(self).add_warning_v2("openblip:page", missing)
        behavior = cloudfront.ResponseSecurityHeadersBehavior(
            content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
                content_security_policy=page_policy(hashes), override=True
            ),
            content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
            referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
                referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
            ),
            strict_transport_security=_hsts(),
        )
        others = {
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
        }
        return cloudfront.ResponseHeadersPolicy(
            self,
            "PageHeaders",
            comment="Of the page",
            security_headers_behavior=behavior,
            custom_headers_behavior=cloudfront.ResponseCustomHeadersBehavior(
                custom_headers=[
                    cloudfront.ResponseCustomHeader(header=name, value=value, override=True)
                    for name, value in others.items()
                ]
            ),
        )

    def _log_bucket(self, data: Data) -> Any:
        from aws_cdk import aws_s3 as s3

        return private_bucket(
            self,
            "Logs",
            logged_to=data.access_logs,
            expire_days=90,
            object_ownership=s3.ObjectOwnership.OBJECT_WRITER,  # CloudFront writes them by an ACL
        )


def _hsts() -> cloudfront.ResponseHeadersStrictTransportSecurity:
    return cloudfront.ResponseHeadersStrictTransportSecurity(
        access_control_max_age=_YEAR, include_subdomains=True, override=True
    )
