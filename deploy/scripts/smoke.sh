#!/usr/bin/env bash
# smoke.sh ADDRESS: asks a service for the caption of a sample, for two minutes at most; with OPENBLIP_API_KEY where it
# wants a key.
set -euo pipefail
address=${1%/} headers=()
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ -n "${OPENBLIP_API_KEY:-}" ] && headers=(--header "Authorization: Bearer $OPENBLIP_API_KEY")
answer=$(curl --silent --show-error --fail --max-time 60 --retry 20 --retry-delay 5 --retry-max-time 120 \
    --retry-all-errors "${headers[@]}" --form images=@samples/astronaut.jpg "$address/v1/caption")
python3 -c 'import json, sys
[result] = json.load(sys.stdin)["results"]
text = result["captions"][0]["text"]
print(text)
sys.exit(not text)' <<<"$answer"
