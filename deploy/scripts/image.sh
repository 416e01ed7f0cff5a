#!/usr/bin/env bash
# image.sh DEPLOYMENT TAG [SETTINGS]: builds the image for this machine's processor, which must be that of the settings,
# with their model and with what a library needs where they have one, pushes it and waits for the registry's scan, which
# must find nothing high or critical beside what deploy/accepted.txt names. Prints digest=sha256:... for the next step,
# and everything else on stderr.
set -euo pipefail
deployment=$1 tag=$2 settings=${3:-}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
arguments=() processor=X86_64
if [ -n "$settings" ]; then
    [ -f "$settings" ] || { echo "the settings $settings are not there: check the path" >&2; exit 2; }
    told=$(python3 -c 'import sys, tomllib
given = tomllib.load(open(sys.argv[1], "rb"))
service = given.get("service", {})
extras = "serve,search" if service.get("library") else "serve"
print(given.get("task", {}).get("processor", "X86_64"))
print("--build-arg", "MODEL=" + service.get("model", "mini"), "--build-arg", "EXTRAS=" + extras, sep="\n")' "$settings")
    mapfile -t arguments <<<"$told"
    processor=${arguments[0]} arguments=("${arguments[@]:1}")
fi
here=$(uname -m)
case "$here" in aarch64 | arm64) here=ARM64 ;; *) here=${here^^} ;; esac
if [ "$here" != "$processor" ]; then
    echo "task.processor = $processor, and this machine is $here: build on such a machine, or change the setting" >&2
    exit 2
fi
address=$(aws ecr describe-repositories --repository-names "$deployment" --query "repositories[0].repositoryUri" --output text)
aws ecr get-login-password | docker login --username AWS --password-stdin "${address%%/*}" >&2
docker buildx build --pull --provenance=false "${arguments[@]}" --tag "$address:$tag" --push . >&2

image=(--repository-name "$deployment" --image-id "imageTag=$tag")
aws ecr wait image-scan-complete "${image[@]}"
found=$(aws ecr describe-image-scan-findings "${image[@]}" --page-size 1000 --query imageScanFindings --output json)
python3 deploy/findings.py deploy/accepted.txt <<<"$found" >&2
digest=$(aws ecr describe-images --repository-name "$deployment" --image-ids "imageTag=$tag" \
    --query "imageDetails[0].imageDigest" --output text)
echo "digest=$digest"
