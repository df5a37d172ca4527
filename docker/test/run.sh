#!/usr/bin/env bash
# Proves the container on a Docker engine: the image (N1), orphans (N2), compose, drain and restart (N3), a session of the
# real Claude Code inside, Claude's login by every way it can be brought, and a pod's rights; then the steps of
# docs/deployment.md (operations.py) and several gateways (replicas.py).
#
# DOCKER_BUILD_FLAGS: more flags for `docker build`. IMAGE: an image that is there already, instead of building one.
# Claude talks to a stand-in of its API on this machine: no login is needed, and nothing leaves it.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! docker info >/dev/null 2>&1; then
    printf '\n*** SKIPPED: no Docker engine answers. NOTHING OF THE CONTAINER WAS TESTED. ***\n\n' >&2
    exit 0
fi
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi

image=${IMAGE:-cc-gateway-test}
project=cc-gateway-test-$$
http=127.0.0.1:18100 ws=127.0.0.1:18103 redis_port=18179
directory=$(mktemp -d "${TMPDIR:-/tmp}/cc-gateway-docker.XXXXXX")
failed=0 passed=0 pids=()

say() { printf '%s\n' "$*"; }
ok() { passed=$((passed + 1)); say "ok    $1"; }
fail() { failed=$((failed + 1)); say "FAIL  $1"; [[ -z ${2:-} ]] || say "      | ${2//$'\n'/$'\n'      | }"; }
# check NAME COMMAND…: the command must succeed.
check() { local name=$1 out; shift; if out=$("$@" 2>&1); then ok "$name"; else fail "$name" "$out"; fi; }
# equal NAME FOUND EXPECTED
equal() { if [[ $2 == "$3" ]]; then ok "$1"; else fail "$1" "found:    $2"$'\n'"expected: $3"; fi; }
# holds NAME TEXT PART
holds() { if [[ $2 == *"$3"* ]]; then ok "$1"; else fail "$1" "no \"$3\" in: $2"; fi; }
# until SECONDS COMMAND…: waits for the command to succeed.
until_true() {
    local limit=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do ((SECONDS < limit)) || return 1; sleep 0.3; done
}
mine() { docker ps -aq --filter "label=cc-gateway-test=$project"; }
tidy() {
    local status=$?
    trap - EXIT
    [[ -f $directory/compose.json ]] && dc down -v --remove-orphans >/dev/null 2>&1
    mine | xargs -r docker rm -fv >/dev/null 2>&1
    docker volume ls -q --filter "label=cc-gateway-test=$project" | xargs -r docker volume rm -f >/dev/null 2>&1
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$directory"
    exit "$status"
}
trap tidy EXIT
trap 'exit 130' INT TERM

dc() { "${compose[@]}" -p "$project" -f "$directory/compose.json" "$@"; }
tmpfs=(--tmpfs "/tmp:exec,mode=1777" --tmpfs /home/agent:exec)
# run NAME FLAGS…: starts a container of the image on free ports.
run() {
    local name=$1; shift
    docker run -d --name "$project-$name" --label "cc-gateway-test=$project" --network host --read-only \
        "${tmpfs[@]}" --security-opt no-new-privileges:true \
        -e CC_GATEWAY_HTTP_LISTEN=127.0.0.1:0 -e CC_GATEWAY_WS_LISTEN=127.0.0.1:0 "$@" >/dev/null
}
logs() { docker logs "$project-$1" 2>&1; }
is_ready() { [[ $(docker logs "$project-$1" 2>/dev/null) == *'"ready":true'* ]]; }
has_ended() { [[ $(docker inspect -f '{{.State.Running}}' "$project-$1") == false ]]; }
ready_or_ended() { is_ready "$1" || has_ended "$1"; }
exit_code() { docker inspect -f '{{.State.ExitCode}}' "$project-$1"; }
inside() { docker exec "$project-$1" "${@:2}"; }
volume() { docker volume create --label "cc-gateway-test=$project" "$project-$1" >/dev/null; printf %s "$project-$1"; }

# --- The image -------------------------------------------------------------------------------------------------

if [[ -z ${IMAGE:-} ]]; then
    say "building the image"
    # shellcheck disable=SC2086
    docker build ${DOCKER_BUILD_FLAGS:-} -f docker/Dockerfile -t "$image" . >"$directory/build.log" 2>&1 \
        || { tail -n 40 "$directory/build.log"; say "FAIL  the image is not built"; exit 1; }
fi
say "size of the image: $(docker image inspect -f '{{.Size}}' "$image" | awk '{printf "%.0f MB", $1 / 1e6}'), of these:"
docker history --format '{{.Size}} {{.CreatedBy}}' "$image" | awk '/^[0-9.]+[MG]B/ { print "      " substr($0, 1, 110) }'

in_image() { docker run --rm --network none --entrypoint sh "$image" -c "$1" 2>&1; }
equal "n1: no compiler, no Node, no package of either" "$(in_image '
    for name in cc gcc g++ clang ld as make rustc cargo go node npm python3 perl-doc curl wget; do command -v $name; done; true')" ""
equal "n1: no program gives away another user's rights" "$(in_image 'find / -xdev -type f -perm /6000')" ""
equal "n1: no secret and no login is in it" "$(in_image '
    grep -rlE "sk-ant-[a-z]{3}[0-9]{2}-[A-Za-z0-9_-]{20}|-----BEGIN ([A-Z]+ )?PRIVATE KEY-----" /etc /root /home /data /claude /workspaces /uploads /opt /srv
    find /data /claude /uploads /workspaces -mindepth 1; true')" ""
check "n1: what belongs in is in" in_image 'for name in cc-gateway claude git rg tini setpriv; do command -v $name || exit 1; done'
equal "n1: the image's history holds no secret" \
    "$(docker history --no-trunc --format '{{.CreatedBy}}' "$image" | grep -iE 'secret=|password=|token=|api_key=' || true)" ""
equal "n1: stops by SIGTERM" "$(docker image inspect -f '{{.Config.StopSignal}}' "$image")" SIGTERM

# --- Compose ---------------------------------------------------------------------------------------------------

target=${CARGO_TARGET_DIR:-target}/debug
cargo build --quiet --locked --features test-support
env -i "$target/messages-api" >"$directory/api.json" &
pids+=($!)
until_true 20 test -s "$directory/api.json"
api=http://127.0.0.1:$(sed 's/[^0-9]//g' "$directory/api.json")

refused=$(env -i PATH="$PATH" HOME="$HOME" ${DOCKER_HOST:+DOCKER_HOST="$DOCKER_HOST"} "${compose[@]}" config 2>&1) && refused="taken: $refused"
holds "n3: without secrets compose says how to make them" "$refused" "openssl rand -hex"

mkdir "$directory/uploads"
cat >"$directory/override.yml" <<YAML
services:
  gateway:
    environment:
      CC_GATEWAY_HTTP_LISTEN: $http
      CC_GATEWAY_WS_LISTEN: $ws
      CC_GATEWAY_STORE_URL: redis://:canary-redis@127.0.0.1:$redis_port
      CC_GATEWAY_AGENT_ENV: ANTHROPIC_BASE_URL=$api,ANTHROPIC_API_KEY=sk-ant-stand-in,CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1
  redis:
    environment:
      REDIS_PORT: "$redis_port"
YAML
CC_GATEWAY_JWT_SECRET=$(od -An -N48 -tx1 /dev/urandom | tr -d ' \n')
export CC_GATEWAY_JWT_SECRET CC_GATEWAY_IMAGE=$image REDIS_PASSWORD=canary-redis
export UPLOADS=$directory/uploads MEMORY=4g
if [[ ${compose[0]} == docker ]]; then form=(--format json); else form=(); fi
"${compose[@]}" -f docker-compose.yml -f "$directory/override.yml" config "${form[@]}" | docker/test/host-network.py >"$directory/compose.json"

health() { docker inspect -f '{{.State.Health.Status}}' "$1" 2>/dev/null; }
is_healthy() { [[ $(health "$(dc ps -q gateway)") == healthy ]]; }
began=$SECONDS
dc up -d --no-build >"$directory/up.log" 2>&1 || fail "n3: compose up" "$(tail -n 20 "$directory/up.log")"
if until_true "${HEALTHY_WITHIN:-30}" is_healthy; then
    ok "n3: healthy $((SECONDS - began)) s after compose up from cold"
else
    fail "n3: healthy within ${HEALTHY_WITHIN:-30} s" "$(dc ps; dc logs --tail 20 gateway)"
    until_true 60 is_healthy || exit 1
fi
gateway=$(dc ps -q gateway)
in_gateway() { docker exec "$gateway" "$@"; }
as_agent() { docker exec -u agent "$gateway" "$@"; }
status_of() { in_gateway sh -c "sed -n 's/^$2:[[:space:]]*//p' /proc/$1/status"; }

equal "n1: tini is process 1" "$(in_gateway cat /proc/1/comm)" tini
pid=$(in_gateway sh -c 'for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = cc-gateway ] && basename $p && break; done')
equal "n1: process 1 is not root" "$(status_of 1 Uid | tr '\t' ' ')" "10001 10001 10001 10001"
equal "n1: the gateway is not root" "$(status_of "$pid" Uid | tr '\t' ' ')" "10001 10001 10001 10001"
for set in CapInh CapPrm CapEff CapBnd CapAmb; do
    equal "n1: the gateway's $set is SETUID, SETGID and KILL" "$(status_of "$pid" "$set")" 00000000000000e0
done
equal "n1: it can gain nothing" "$(status_of "$pid" NoNewPrivs)" 1
if in_gateway touch /usr/written 2>/dev/null; then fail "n1: the root file system is read-only"; else ok "n1: the root file system is read-only"; fi

password=$(dc logs --no-color gateway 2>/dev/null | sed -n 's/.*with the password \([^ ]*\) .*/\1/p' | head -n 1)
token=$(curl -sS --fail-with-body -H 'content-type: application/json' -d "{\"username\":\"admin\",\"password\":\"$password\"}" \
    "http://$http/login" | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')
if [[ -n $token ]]; then ok "the admin logs in with the password of the first start"; else fail "the admin logs in"; fi
client() { docker exec -u gateway -e CC_GATEWAY_WS_URL="ws://$ws/ws" -e CC_GATEWAY_TOKEN="$token" "$gateway" cc-gateway "$@"; }

answer=$(client exec --allowed-tools Bash 'tell [[bash:id -u; grep -E "^(CapEff|CapBnd|NoNewPrivs)" /proc/self/status >facts; ls -ld . >>facts; cat /data/node-id 2>&1 | tail -n 1 >>facts]] [[text:Hello from inside]]' 2>&1) || true
holds "a session of the real Claude Code runs inside" "$answer" "Hello from inside"
facts=$(in_gateway sh -c 'cat /workspaces/*/facts' 2>&1)
holds "agents have no capability" "$facts" $'CapEff:\t0000000000000000'
holds "agents can gain nothing" "$facts" $'NoNewPrivs:\t1'
holds "a fresh workspace is the agent's own" "$facts" "agent agent"
holds "agents can't read the gateway's files" "$facts" "Permission denied"
holds "Claude's conversations are the agent's" "$(in_gateway stat -c '%U %a' /claude)" "agent 700"

check "doctor finds nothing wrong" docker exec "$gateway" entrypoint doctor
holds "doctor knows who agents are" "$(docker exec "$gateway" entrypoint doctor 2>&1)" "agents run as agent"

# Each child of the loop makes a child and ends before it: the orphan is process 1's to wait for.
as_agent bash -c 'for ((i = 0; i < 500; i++)); do (sleep 0.05 & ) ; done' >/dev/null 2>&1
zombies() { in_gateway sh -c 'cat /proc/[0-9]*/stat 2>/dev/null | sed "s/.*) //" | grep -c "^Z"' || true; }
none_left() { [[ $(zombies) == 0 ]] && ! in_gateway sh -c 'cat /proc/[0-9]*/comm 2>/dev/null | grep -q "^sleep$"'; }
if until_true 30 none_left; then ok "n2: 500 double forks leave no zombie"; else fail "n2: 500 double forks leave no zombie" "$(zombies) left"; fi

client exec 'go on [[slow:3000:100]]' >/dev/null 2>&1 &
running() { [[ $(client sessions --state running 2>/dev/null) == *running* ]]; }
until_true 60 running || fail "a long session runs"
began=$SECONDS
dc stop gateway >/dev/null 2>&1
took=$((SECONDS - began))
equal "n3: docker stop ends it with code 0, after $took s" "$(docker inspect -f '{{.State.ExitCode}}' "$gateway")" 0
if ((took < 60)); then ok "n3: within the grace of the stop"; else fail "n3: within the grace of the stop" "$took s"; fi
last=$(docker logs "$gateway" 2>&1 | tail -n 60)
holds "n3: the stop drains" "$last" "draining"
holds "n3: and comes to its end" "$last" '"ended"'
dc restart redis >/dev/null 2>&1
dc start gateway >/dev/null 2>&1
until_true 60 is_healthy || fail "healthy again after a restart" "$(dc logs --tail 20 gateway)"
kept=$(client sessions --json 2>&1)
holds "n3: a restart of both keeps sessions" "$kept" '"completed"'
holds "n3: the one that was cut short says so" "$kept" '"drained"'
equal "the log holds no secret" "$(docker logs "$gateway" 2>&1 | grep -cE "canary-redis|$CC_GATEWAY_JWT_SECRET|$token|sk-ant-stand-in" || true)" 0
dc down -v >/dev/null 2>&1 && ok "n3: compose down"

# --- Claude's login --------------------------------------------------------------------------------------------

end=$((($(date +%s) + 86400) * 1000))
login() { printf '{"claudeAiOauth":{"accessToken":"sk-ant-oat01-%s","refreshToken":"sk-ant-ort01-x","expiresAt":%s,"scopes":["user:inference"],"subscriptionType":"max"}}' "$1" "$end"; }
good=$directory/good.json
login one >"$good"
printf '{"somebody":"else"}' >"$directory/bad.json"
chmod 0600 "$directory"/*.json
chmod 0755 "$directory"

# installed NAME FLAGS…: with these the login must be in place.
installed() {
    local name=$1
    run "$@" "$image"
    if ! until_true 60 ready_or_ended "$name" || ! is_ready "$name"; then fail "login by $name" "$(logs "$name" | tail -n 12)"; return; fi
    local limit=$((SECONDS + 15))
    until inside "$name" test -s /claude/.credentials.json 2>/dev/null || ((SECONDS > limit)); do sleep 0.3; done
    equal "login by $name: whose it is, and its mode" "$(inside "$name" stat -c '%u:%g %a' /claude/.credentials.json 2>&1)" "${owner:-10002:10002} 600"
    equal "login by $name: it is that one" "$(inside "$name" cat /claude/.credentials.json 2>&1)" "$(<"$good")"
    docker rm -fv "$project-$name" >/dev/null
}
# refused NAME WORDS FLAGS…: with these the start must be refused, for that reason.
refused() {
    local name=$1 words=$2
    run "$name" "${@:3}" "$image"
    until_true 60 ready_or_ended "$name" || true
    if is_ready "$name"; then fail "refused: $name" "it started"; else
        equal "refused: $name: exit code" "$(exit_code "$name")" 78
        holds "refused: $name: says why" "$(logs "$name")" "$words"
    fi
    docker rm -fv "$project-$name" >/dev/null
}

mkdir "$directory/open" "$directory/closed" "$directory/wrong" "$directory/place"
install -m 0644 "$good" "$directory/open/.credentials.json"
install -m 0600 -o 4242 -g 4242 "$good" "$directory/closed/.credentials.json"
install -m 0600 "$directory/bad.json" "$directory/wrong/.credentials.json"
install -m 0600 -o 4242 -g 4242 "$good" "$directory/place/.credentials.json"

installed upload -v "$directory/open:/uploads:ro"
installed upload-of-another-user -v "$directory/closed:/uploads:ro"
installed secret-file -v "$good:/run/secrets/login:ro" -e CLAUDE_CREDENTIALS_FILE=/run/secrets/login
installed variable -e CLAUDE_CREDENTIALS_B64="$(base64 -w0 "$good")"
installed place -v "$directory/place:/claude"
owner=2003:2004 installed other-numbers -e PUID=2001 -e PGID=2002 -e AGENT_UID=2003 -e AGENT_GID=2004 \
    -e CLAUDE_CREDENTIALS_B64="$(base64 -w0 "$good")"
run token -e CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-stand-in "$image"
until_true 60 is_ready token || fail "login by token: ready" "$(logs token | tail -n 12)"
holds "login by token: it serves" "$(inside token cc-gateway credentials status --json 2>&1)" '"usable": true'
docker rm -fv "$project-token" >/dev/null
owner=12345:12345 installed not-as-root --user 12345:12345 --cap-drop ALL -v "$directory/open:/uploads:ro" \
    --tmpfs /data:uid=12345,gid=12345,mode=0700 --tmpfs /claude:uid=12345,gid=12345,mode=0700 \
    --tmpfs /workspaces:uid=12345,gid=12345,mode=0755

refused wrong-upload "there is no login in the file" -v "$directory/wrong:/uploads:ro"
refused wrong-secret "there is no login in the file" -v "$directory/bad.json:/run/secrets/login:ro" -e CLAUDE_CREDENTIALS_FILE=/run/secrets/login
refused missing-secret "there is no file" -e CLAUDE_CREDENTIALS_FILE=/run/secrets/none
refused read-only-place "could not save the new one" -v "$directory/place:/claude:ro"
chown -R 4242:4242 "$directory/place"
refused place-of-another-user "agents can't read it" -v "$directory/place:/claude:ro"
refused one-user-for-both "PUID and AGENT_UID" -e PUID=3000 -e AGENT_UID=3000
refused no-capabilities "without CAP_" --cap-drop ALL
refused not-as-root-unreadable "can't be read by user 12345" --user 12345:12345 -v "$directory/closed:/uploads:ro" \
    --tmpfs /data:uid=12345,gid=12345,mode=0700 --tmpfs /claude:uid=12345,gid=12345,mode=0700 \
    --tmpfs /workspaces:uid=12345,gid=12345,mode=0755
refused not-as-root-without-data "can't be written by user 12345" --user 12345:12345

# --- As a pod of docker/kubernetes ---------------------------------------------------------------------------------

# Volumes belong to root and to the group of the pod, and a Secret is a directory of links.
sed -n 's/^  \(CC_GATEWAY_[A-Z_]*\): "\{0,1\}\([^"]*\)"\{0,1\}$/\1=\2/p' docker/kubernetes/configmap.yaml >"$directory/pod.env"
# What is optional and absent is an empty directory.
mkdir -p "$directory/keys" "$directory/accepted" "$directory/secret/..1"
openssl genpkey -algorithm ed25519 -out "$directory/keys/signing.pem" 2>/dev/null
install -m 0440 -g 10001 "$good" "$directory/secret/..1/.credentials.json"
ln -s ..1 "$directory/secret/..data"
ln -s ..data/.credentials.json "$directory/secret/.credentials.json"
chgrp 10001 "$directory/keys/signing.pem" && chmod 0440 "$directory/keys/signing.pem"
install -d -m 2775 -g 10001 "$directory/pod" "$directory"/pod/{data,claude,workspaces,home}
pod=(--user 10001:10001 --cap-drop ALL --env-file "$directory/pod.env" -e HOME=/home/agent
    -e CC_GATEWAY_STORE_URL="redis://127.0.0.1:$redis_port" -e CC_GATEWAY_HTTP_LISTEN="$http" -e CC_GATEWAY_WS_LISTEN="$ws"
    -e CC_GATEWAY_AGENT_ENV="ANTHROPIC_BASE_URL=$api,CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1"
    -v "$directory/pod/data:/data" -v "$directory/pod/claude:/claude" -v "$directory/pod/workspaces:/workspaces"
    -v "$directory/pod/home:/home/agent" -v "$directory/keys:/keys/current:ro" -v "$directory/accepted:/keys/accepted:ro"
    -v "$directory/secret:/uploads:ro")
docker run -d --name "$project-redis" --label "cc-gateway-test=$project" --network host redis:7-bookworm \
    redis-server --port "$redis_port" --bind 127.0.0.1 --save '' >/dev/null
tmpfs=(--tmpfs "/tmp:exec,mode=1777")
run pod "${pod[@]}" "$image"
if until_true 60 ready_or_ended pod && is_ready pod; then
    login_is_there() { inside pod test -s /claude/.credentials.json; }
    until_true 15 login_is_there || true
    equal "as a pod: whose the login is, and its mode" "$(inside pod stat -c '%u:%g %a' /claude/.credentials.json 2>&1)" "10001:10001 600"
    password=$(logs pod | sed -n 's/.*with the password \([^ ]*\) .*/\1/p' | head -n 1)
    token=$(curl -sS -H 'content-type: application/json' -d "{\"username\":\"admin\",\"password\":\"$password\"}" \
        "http://$http/login" | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')
    answer=$(docker exec -e CC_GATEWAY_WS_URL="ws://$ws/ws" -e CC_GATEWAY_TOKEN="$token" "$project-pod" \
        cc-gateway exec 'tell [[text:Hello from a pod]]' 2>&1) || true
    holds "as a pod: a session of the real Claude Code" "$answer" "Hello from a pod"
    docker stop --time 75 "$project-pod" >/dev/null
    equal "as a pod: ends with code 0" "$(exit_code pod)" 0
else
    fail "as a pod: ready" "$(logs pod | tail -n 12)"
fi
mine | xargs -r docker rm -fv >/dev/null

# --- Operations ----------------------------------------------------------------------------------------------------

for script in operations replicas; do
    if [[ -x .tools/docker/bin/python ]]; then
        say "$script.py"
        if IMAGE=$image .tools/docker/bin/python "docker/test/$script.py" "$target"; then ok "$script.py"; else fail "$script.py"; fi
    else
        say "*** NOT TESTED: $script.py: scripts/tools.sh --docker installs what it needs ***"
    fi
done

say ""
say "$passed passed, $failed failed"
((failed == 0))
