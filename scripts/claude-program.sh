#!/usr/bin/env bash
# Prints where the Claude Code CLI below .tools/ is; fails if it is not there.
set -euo pipefail
modules=$(cd "$(dirname "$0")/.." && pwd)/.tools/node_modules/@anthropic-ai
# The package's own program is a hard link to the platform's, made by an install script that may be off.
for path in "$modules"/claude-code-linux-{x64,arm64}/claude "$modules"/claude-code/bin/claude.exe; do
    if [[ -f $path ]]; then
        printf '%s\n' "$path"
        exit 0
    fi
done
exit 1
