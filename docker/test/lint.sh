#!/usr/bin/env bash
# Checks what needs no engine: the Dockerfile, the scripts, and the examples for compose, Kubernetes, Prometheus and systemd;
# then runs the examples of proxies (proxies.py).
#
# `scripts/tools.sh --docker` installs most of the tools; promtool and systemd-analyze come from packages of the system. What is
# absent is told loudly, and is no failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH=$PWD/.tools/docker/bin:$PATH

directory=$(mktemp -d "${TMPDIR:-/tmp}/cc-gateway-lint.XXXXXX")
trap 'rm -rf "$directory"' EXIT
failed=0 passed=0

say() { printf '%s\n' "$*"; }
# check NAME COMMAND…: the command must succeed.
check() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then passed=$((passed + 1)); say "ok    $name"; return; fi
    failed=$((failed + 1))
    say "FAIL  $name"
    while IFS= read -r line; do say "      | $line"; done <<<"$out"
}
# has TOOL WHAT: is that tool there? If not, WHAT goes without a check.
has() {
    if command -v "$1" >/dev/null; then return; fi
    say "*** NOT CHECKED: $2: $1 is not on this machine ***"
    return 1
}

if has hadolint "the Dockerfile"; then check "the Dockerfile is as hadolint wants it" hadolint docker/Dockerfile; fi
if has shellcheck "scripts"; then
    check "scripts are as shellcheck wants them" shellcheck --severity=warning docker/entrypoint docker/test/*.sh
fi

compose_config() { "${compose[@]}" --env-file "$directory/env" "$@" config; }
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
if has "${compose[0]}" "compose files"; then
    sed 's/^\(CC_GATEWAY_JWT_SECRET\|REDIS_PASSWORD\)=$/&stand-in/' docker/.env.example >"$directory/env"
    check "docker-compose.yml is valid" compose_config
    if [[ ${compose[0]} == docker ]]; then
        check "compose.several.yml is valid" compose_config -f docker-compose.yml -f docker/compose.several.yml
    else
        say "*** NOT CHECKED: compose.several.yml needs Docker Compose 2.24 ***"
    fi
fi

if has kubectl "Kubernetes manifests"; then
    kubectl kustomize docker/kubernetes >"$directory/manifests.yaml" 2>"$directory/kustomize" || true
    check "kustomize puts the manifests together" test ! -s "$directory/kustomize"
    # Kinds that Kubernetes does not have itself, as ServiceMonitor, are passed over with a warning.
    if has kubernetes-validate "Kubernetes manifests against the schema"; then
        check "the manifests fit Kubernetes' schema" kubernetes-validate --strict --quiet "$directory/manifests.yaml"
    fi
fi

if has promtool "prometheus.yml and alerts.yml"; then
    cp docker/monitoring/*.yml "$directory"
    sed -i "s#/etc/prometheus/#$directory/#" "$directory/prometheus.yml"
    check "prometheus.yml is valid" promtool check config "$directory/prometheus.yml"
    check "alerts fire when they should, and else do not" promtool test rules docker/monitoring/alerts.test.yml
fi

if has systemd-analyze "the unit"; then
    # The program is not installed here.
    sed 's#/usr/local/bin/cc-gateway serve#/bin/true#' docker/systemd/cc-gateway.service >"$directory/cc-gateway.service"
    check "the unit is valid" systemd-analyze verify "$directory/cc-gateway.service"
    check "the unit is closed" systemd-analyze security --offline=true --threshold=30 "$directory/cc-gateway.service"
fi

if has .tools/docker/bin/python "proxies"; then
    cargo build --quiet --locked --features test-support
    .tools/docker/bin/python docker/test/proxies.py "${CARGO_TARGET_DIR:-target}/debug" || failed=$((failed + 1))
fi

say ""
say "$passed passed, $failed failed"
((failed == 0))
