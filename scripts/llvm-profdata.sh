#!/usr/bin/env bash
# Prints the path of an `llvm-profdata` that reads what the installed Rust's programs count: Rust's own, if its component
# `llvm-tools` is installed, or one of LLVM 19 or newer. Ends with 1 if there is none.
set -euo pipefail

of_rust=$(rustc --print target-libdir)/../bin/llvm-profdata
if [[ -x $of_rust ]]; then
    realpath "$of_rust"
    exit
fi
for name in llvm-profdata llvm-profdata-{26,25,24,23,22,21,20,19}; do
    program=$(command -v "$name") || continue
    version=$("$program" merge --version | sed -n 's/.*LLVM version \([0-9]*\).*/\1/p')
    if ((${version:-0} >= 19)); then
        printf '%s\n' "$program"
        exit
    fi
done
exit 1
