#!/usr/bin/env bash
# Runs one prompt on a cc-gateway with curl, jq and websocat, and prints Claude's text.
#
#   CC_GATEWAY_USERNAME=alice CC_GATEWAY_PASSWORD_FILE=password.txt ./session.sh "What is 2 + 2?"
#
# Set CC_GATEWAY_TOKEN instead to use a token that you already have.
set -euo pipefail

prompt=${1:?usage: session.sh PROMPT}
url=${CC_GATEWAY_URL:-http://127.0.0.1:8001}
ws_url=${CC_GATEWAY_WS_URL:-ws://127.0.0.1:8003}
# The default path, where the address has none.
case ${ws_url#*://} in */*) ;; *) ws_url=$ws_url/ws ;; esac

fail() {
    printf 'session.sh: %s\n' "$1" >&2
    exit 1
}

log_in() {
    local name=${CC_GATEWAY_USERNAME:?set CC_GATEWAY_TOKEN, or CC_GATEWAY_USERNAME and CC_GATEWAY_PASSWORD_FILE}
    local file=${CC_GATEWAY_PASSWORD_FILE:?set CC_GATEWAY_PASSWORD_FILE}
    # The password goes through a pipe: arguments can be seen by others.
    local answer
    answer=$(jq -n --arg username "$name" --rawfile password "$file" \
        '{$username, password: ($password | rtrimstr("\n"))}' |
        curl --silent --show-error --max-time 30 --header 'Content-Type: application/json' --data-binary @- "$url/login") ||
        fail "no gateway at $url"
    jq -er '.access_token' <<<"$answer" 2>/dev/null ||
        fail "login refused: $(jq -r '"\(.title) \(.detail // "")"' <<<"$answer" 2>/dev/null || echo "$answer")"
}

token=${CC_GATEWAY_TOKEN:-}
[ -n "$token" ] || token=$(log_in)

# websocat takes the header as an argument, where others on this machine can see it while it runs. That is
# good enough for a try; a program should use a library.
coproc GATEWAY { exec websocat --text --exit-on-eof --buffer-size 33554432 "$ws_url" --header "Authorization: Bearer $token"; }
# Both are empty when it is gone already; it has said why.
to_gateway=${GATEWAY[1]-} from_gateway=${GATEWAY[0]-} websocat_pid=${GATEWAY_PID-}
[ -n "$to_gateway" ] || fail "no connection to $ws_url"
trap '[ -z "$websocat_pid" ] || kill "$websocat_pid" 2>/dev/null || true' EXIT

jq -cn --arg prompt "$prompt" \
    '{jsonrpc: "2.0", id: 1, method: "session.start", params: {$prompt}}' >&"$to_gateway" ||
    fail "no connection to $ws_url"

# One frame is one line of JSON. jq keeps what matters and says how it ended in its last line.
code=1
ended=false
while IFS= read -r frame; do
    case $(jq -r 'if .error then "error" elif .id == 1 then "started" else .params.type // .method end' <<<"$frame") in
    error)
        fail "refused: $(jq -r '"\(.error.message) (\(.error.code))"' <<<"$frame")"
        ;;
    started)
        printf '[session %s]\n' "$(jq -r .result.session_id <<<"$frame")" >&2
        ;;
    claude)
        jq -r '.params.data | select(.type == "assistant" and .parent_tool_use_id == null)
               | .message.content[] | select(.type == "text").text' <<<"$frame"
        ;;
    session.ended)
        ended=true
        jq -r '.params.data | "[\(.reason), \(.duration_ms / 1000) s]"' <<<"$frame" >&2
        if jq -e '.params.data | .reason == "completed" and (.is_error | not)' <<<"$frame" >/dev/null; then code=0; fi
        break
        ;;
    esac
done <&"$from_gateway"

"$ended" || fail 'the connection ended before the session did; see it with session.attach and after_seq'
exit "$code"
