#!/usr/bin/env bash
# Shows the gateway at work, from nothing to an answer, and leaves nothing behind. See gateway.sh for LOGIN=1.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/tools.sh
cargo build --quiet --release --locked --features test-support
source scripts/gateway.sh

start_gateway 127.0.0.1:0 127.0.0.1:0
say "The gateway listens on http://$http and ws://$ws/ws; its store is an embedded file in a temporary directory."
token=$(login)
[[ -n $token ]] || die "the login gave no token"
prompt=${PROMPT:-Say hello and tell me in one sentence what you are.}
say "Logged in. Now: cc-gateway exec \"$prompt\""
say ""
env -i PATH="$PATH" HOME="$directory/home" CC_GATEWAY_WS_URL="ws://$ws/ws" CC_GATEWAY_TOKEN="$token" \
    "$target/cc-gateway" exec "$prompt"
say ""
stop_gateway || die "the gateway did not stop properly"
say "Stopped; nothing is left behind."
