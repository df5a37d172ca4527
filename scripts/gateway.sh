# Starts and stops a gateway for a person to try, for the other scripts to source. Everything lives in one
# temporary directory and is gone afterwards.
#
# Without LOGIN=1 Claude Code talks to a stand-in of its API on this machine: nothing leaves it and nothing
# costs anything. With LOGIN=1 it uses the Claude login of this machine.

target=${CARGO_TARGET_DIR:-target}/release
directory=$(mktemp -d "${TMPDIR:-/tmp}/cc-gateway.XXXXXX")
pids=()

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

stop_all() {
    local status=$? pid
    trap - EXIT INT TERM
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    if [[ $status != 0 && -s $directory/gateway.log ]]; then
        say "the end of the gateway's log:" >&2
        tail -n 20 "$directory/gateway.log" >&2
    fi
    rm -rf "$directory"
    exit "$status"
}
trap stop_all EXIT
trap 'exit 130' INT TERM

# first_line FILE PID: waits until FILE has a line, and prints it.
first_line() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        if [[ $(wc -l <"$1") -ge 1 ]]; then head -n 1 "$1"; return; fi
        kill -0 "$2" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

# field NAME: the text or number of that name in one line of JSON.
field() { sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'; }

# The login that LOGIN=1 uses, in words; fails if there is none. In the CLI's own order.
machine_login() {
    local file=${CLAUDE_CONFIG_DIR:-$HOME/.claude}/.credentials.json
    if [[ -n ${ANTHROPIC_API_KEY:-} ]]; then say "the API key in ANTHROPIC_API_KEY"
    elif [[ -n ${CLAUDE_CODE_OAUTH_TOKEN:-} ]]; then say "the token in CLAUDE_CODE_OAUTH_TOKEN"
    elif [[ -f $file ]]; then say "the login in $file"
    else return 1
    fi
}

# start_gateway HTTP WS: listens there and sets http, ws, password_file.
start_gateway() {
    local -a environment
    local api_port login claude
    claude=$(scripts/claude-program.sh) || die "Claude Code is not there; run: make tools"
    mkdir -m 0700 "$directory"/{data,home,workspaces}
    password_file=$directory/admin-password
    (umask 077 && od -An -N18 -tx1 /dev/urandom | tr -d ' \n' >"$password_file")
    environment=(
        PATH="$PATH" LANG="${LANG:-C.UTF-8}"
        CC_GATEWAY_HTTP_LISTEN="$1" CC_GATEWAY_WS_LISTEN="$2"
        CC_GATEWAY_DATA_DIR="$directory/data" CC_GATEWAY_WORKSPACE_ROOTS="$directory/workspaces"
        CC_GATEWAY_ADMIN_PASSWORD_FILE="$password_file" CC_GATEWAY_AGENT_PROGRAM="$claude"
        CC_GATEWAY_LOG_FORMAT=text
    )
    if [[ ${LOGIN:-} == 1 ]]; then
        login=$(machine_login) || die "LOGIN=1, but this machine has no Claude login; run: claude auth login"
        say "Online: Claude Code uses $login."
        environment+=(HOME="$HOME" CC_GATEWAY_CLAUDE_CONFIG_DIR="${CLAUDE_CONFIG_DIR:-$HOME/.claude}")
        if [[ -n ${ANTHROPIC_API_KEY:-} ]]; then
            environment+=(ANTHROPIC_API_KEY="$ANTHROPIC_API_KEY" CC_GATEWAY_AGENT_ENV_PASS=PATH,HOME,LANG,ANTHROPIC_API_KEY)
        elif [[ -n ${CLAUDE_CODE_OAUTH_TOKEN:-} ]]; then
            environment+=(CLAUDE_CODE_OAUTH_TOKEN="$CLAUDE_CODE_OAUTH_TOKEN")
        fi
    else
        : >"$directory/api.json"
        env -i "$target/messages-api" >"$directory/api.json" 2>"$directory/api.log" &
        pids+=($!)
        api_port=$(first_line "$directory/api.json" "${pids[-1]}" | field port)
        [[ -n $api_port ]] || die "the stand-in of the Messages API did not start: $(<"$directory/api.log")"
        say "Offline: Claude Code is real, but its API is a stand-in on 127.0.0.1:$api_port. LOGIN=1 uses your Claude login."
        environment+=(
            HOME="$directory/home" CC_GATEWAY_CLAUDE_CONFIG_DIR="$directory/home/.claude"
            CC_GATEWAY_AGENT_ENV="ANTHROPIC_BASE_URL=http://127.0.0.1:$api_port,ANTHROPIC_API_KEY=sk-ant-stand-in,CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1"
        )
    fi
    : >"$directory/ready.json"
    env -i "${environment[@]}" "$target/cc-gateway" serve >"$directory/ready.json" 2>"$directory/gateway.log" &
    pids+=($!)
    gateway_pid=$!
    local ready
    ready=$(first_line "$directory/ready.json" "$gateway_pid") || die "the gateway did not start"
    http=$(field http <<<"$ready")
    ws=$(field ws <<<"$ready")
}

# stop_gateway: SIGTERM; fails unless it exits with code 0.
stop_gateway() {
    kill "$gateway_pid"
    unset 'pids[-1]'
    wait "$gateway_pid"
}

# login: prints an access token of the admin.
login() {
    curl -sS --fail-with-body -H 'content-type: application/json' \
        -d "{\"username\":\"admin\",\"password\":\"$(<"$password_file")\"}" "http://$http/login" | field access_token
}
