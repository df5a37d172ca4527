#!/usr/bin/env bash
# Everything that must pass before a change goes in.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; "$@"; }

step scripts/tools.sh --tests
if ! cargo nextest --version >/dev/null 2>&1; then step cargo install cargo-nextest --locked; fi
step cargo fmt --all --check
PATH="$PWD/.tools/venv/bin:$PATH" step cargo deny --locked check licenses sources bans
step cargo clippy --all-targets --all-features --locked -- -D warnings
RUSTDOCFLAGS=-Dwarnings step cargo doc --lib --no-deps --all-features --document-private-items --locked
# Most of a test is waiting for programs, clocks and disks. On two processors four at a time took 484 s, six take 361.
step cargo nextest run --all-features --locked --test-threads "${NEXTEST_TEST_THREADS:-$((3 * $(nproc)))}"
step cargo test --doc --all-features --locked
# Nothing may get lost on the way of any row; how long it takes is not asked here.
step cargo test --bench end_to_end --all-features --locked -- --quick
printf '\nAll checks have passed.\n'
