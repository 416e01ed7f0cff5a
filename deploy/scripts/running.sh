#!/usr/bin/env bash
# running.sh DEPLOYMENT: prints version=..., the tag or digest that its service was deployed with; nothing after = where
# there is no service yet. Any other error of AWS ends it: without that version nothing could be rolled back.
set -euo pipefail
stack="$1-service"
said=$(mktemp)
trap 'rm -f "$said"' EXIT
if ! version=$(aws cloudformation describe-stacks --stack-name "$stack" \
    --query "Stacks[0].Outputs[?OutputKey=='Image'].OutputValue" --output text 2>"$said"); then
    cat "$said" >&2
    grep -q "Stack with id $stack does not exist" "$said" || exit 1
    version=""
fi
[ "$version" = None ] && version=""
echo "version=$version"
