#!/usr/bin/env bash
# image.sh DEPLOYMENT TAG: builds the image for this machine's processor, pushes it and waits for the registry's scan, which
# must find nothing high or critical. Prints digest=sha256:... for the next step, and everything else on stderr.
set -euo pipefail
deployment=$1 tag=$2
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
address=$(aws ecr describe-repositories --repository-names "$deployment" --query "repositories[0].repositoryUri" --output text)
aws ecr get-login-password | docker login --username AWS --password-stdin "${address%%/*}" >&2
docker buildx build --pull --provenance=false --tag "$address:$tag" --push . >&2

image=(--repository-name "$deployment" --image-id "imageTag=$tag")
aws ecr wait image-scan-complete "${image[@]}"
found=$(aws ecr describe-image-scan-findings "${image[@]}" --query "imageScanFindings.findingSeverityCounts" --output json)
echo "scan: $found" >&2
python3 -c 'import json, sys
found = json.load(sys.stdin) or {}
sys.exit(bool(found.get("HIGH", 0) + found.get("CRITICAL", 0)))' <<<"$found"
digest=$(aws ecr describe-images --repository-name "$deployment" --image-ids "imageTag=$tag" \
    --query "imageDetails[0].imageDigest" --output text)
echo "digest=$digest"
