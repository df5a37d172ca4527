#!/usr/bin/env bash
# Builds the release program by a profile of itself at work, as target/profiled/cc-gateway: what runs often lies together,
# apart from what hardly ever runs.
#   1. A release build that counts what it runs.
#   2. What the benchmark does, in little, with that.
#   3. A release build by those counts.
# Needs an `llvm-profdata` that knows this compiler's counts: scripts/tools.sh --profile.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'profiled: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
host=$(rustc -vV | sed -n 's/^host: //p')
built=$target/profiled/$host/release/cc-gateway
counts=$target/profiled/counts
profdata=$(scripts/llvm-profdata.sh) || die "llvm-profdata is missing: scripts/tools.sh --profile installs it"

# With a target of their own the flags don't meet what is built to run while building.
release() { CARGO_TARGET_DIR=$target/profiled RUSTFLAGS=$1 cargo build --release --locked --bin cc-gateway --target "$host"; }

rm -rf "$counts"
mkdir -p "$counts"
say "building what counts"
release "-Cprofile-generate=$counts"
cp "$built" "$target/profiled/counting"
say "counting"
cargo test --bench end_to_end --features test-support --locked -- --quick --gateway "$target/profiled/counting" >&2
"$profdata" merge -o "$counts/merged" "$counts"/*.profraw
say "building by the counts"
release "-Cprofile-use=$counts/merged"
cp "$built" "$target/profiled/cc-gateway"
say "built $target/profiled/cc-gateway"
