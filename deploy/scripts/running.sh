#!/usr/bin/env bash
# running.sh DEPLOYMENT: prints version=..., the tag or digest that its service was deployed with; nothing after = where
# there is no service yet.
set -euo pipefail
stack="$1-service"
version=$(aws cloudformation describe-stacks --stack-name "$stack" \
    --query "Stacks[0].Outputs[?OutputKey=='Image'].OutputValue" --output text 2>/dev/null) || version=""
[ "$version" = None ] && version=""
echo "version=$version"
