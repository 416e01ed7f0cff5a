#!/usr/bin/env bash
# publish_page.sh DEPLOYMENT: puts the built page (make page) where CloudFront finds it. Hashed files first and for good,
# then the page itself, which browsers ask for anew; what no page names any more goes last.
set -euo pipefail
stack="$1-web"
cd "$(dirname "${BASH_SOURCE[0]}")/../../src/openblip/serve/built_page"
output() {
    aws cloudformation describe-stacks --stack-name "$stack" \
        --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue" --output text
}
bucket=$(output PageBucket)
left_out=(--exclude "*.br" --exclude "*.gz" --exclude policy.json) # CloudFront packs them itself
aws s3 sync _next "s3://$bucket/_next" "${left_out[@]}" --cache-control "public, max-age=31536000, immutable"
aws s3 sync . "s3://$bucket" "${left_out[@]}" --exclude "_next/*" --cache-control no-cache
aws s3 sync . "s3://$bucket" "${left_out[@]}" --delete --size-only
aws cloudfront create-invalidation --distribution-id "$(output DistributionId)" --paths "/*" --query Invalidation.Id
