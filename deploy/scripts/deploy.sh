#!/usr/bin/env bash
# deploy.sh SETTINGS VERSION: deploys all stacks with the image of that tag or digest; with "" for SETTINGS with the
# defaults. A service whose new tasks do not get healthy is put back by ECS (the circuit breaker), and
# CloudFormation with it; this then ends with an error. The page must be built: its scripts' hashes are deployed too.
set -euo pipefail
settings=$1 version=$2
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ -f src/openblip/serve/built_page/policy.json ] || { echo "the page is not built: run make page" >&2; exit 2; }
arguments=(--all --require-approval never --concurrency 2 --context "version=$version")
[ -n "$settings" ] && arguments+=(--context "settings=$settings")
name=${DEPLOYMENT:-openblip}
[ -n "${BALANCER_CERTIFICATE:-}" ] && arguments+=(--parameters "$name-service:CertificateArn=$BALANCER_CERTIFICATE")
[ -n "${WEB_CERTIFICATE:-}" ] && arguments+=(--parameters "$name-web:CertificateArn=$WEB_CERTIFICATE")
exec deploy/node_modules/.bin/cdk deploy "${arguments[@]}"
