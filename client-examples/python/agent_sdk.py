#!/usr/bin/env python3
"""A conversation with the official Claude Agent SDK, whose Claude Code runs on a cc-gateway.

Each argument is one message. A tool of this program's own, a hook and a permission callback run
here; Claude runs where the gateway is.

    python agent_sdk.py "What is 40 + 2? Use your tool." "And now list the files." \\
        --username alice --password-file password.txt
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ClaudeSDKError,
    HookMatcher,
    PermissionResultAllow,
    PermissionResultDeny,
    ResultMessage,
    TextBlock,
    create_sdk_mcp_server,
    tool,
)

from gateway_transport import GatewayTransport, Token, start_parameters
from run_session import GatewayError, log_in


def say(text: str) -> None:
    print(f"[{text}]", file=sys.stderr)


@tool("add", "Adds two numbers", {"a": float, "b": float})
async def add(arguments: dict[str, Any]) -> dict[str, Any]:
    """A tool that runs in this program, not beside Claude."""
    total = arguments["a"] + arguments["b"]
    say(f"add: {total:g}")
    return {"content": [{"type": "text", "text": f"{total:g}"}]}


async def before_bash(given: Any, _tool_use_id: Any, _context: Any) -> Any:
    """A hook: it sees every command before it runs, and could forbid it."""
    say(f"hook: {given['tool_name']}")
    return {}


async def may_use(allowed: list[str], name: str, given: dict[str, Any], _context: Any) -> Any:
    """The permission callback: Claude waits for its answer."""
    if name in allowed:
        say(f"allowed: {name}")
        return PermissionResultAllow()
    say(f"denied: {name}")
    return PermissionResultDeny(message=f"{name} is not for this conversation")


def access(args: argparse.Namespace) -> Token:
    """Gives an access token as often as one is needed: each serves only for a while."""

    async def token() -> str:
        if given := os.environ.get("CC_GATEWAY_TOKEN"):
            return given
        if not args.username or not args.password_file:
            raise GatewayError("give --username and --password-file, or set CC_GATEWAY_TOKEN")
        password = Path(args.password_file).read_text().rstrip("\r\n")
        return await asyncio.to_thread(log_in, args.url, args.username, password)

    return token


async def run(args: argparse.Namespace) -> int:
    options = ClaudeAgentOptions(
        model=args.model,
        can_use_tool=partial(may_use, ["mcp__sums__add", *args.allow]),
        hooks={"PreToolUse": [HookMatcher(matcher="Bash", hooks=[before_bash])]},
        mcp_servers={"sums": create_sdk_mcp_server("sums", tools=[add])},
    )
    transport = GatewayTransport(f"{args.ws_url.rstrip('/')}/ws", access(args), start_parameters(options))
    failed = False
    async with ClaudeSDKClient(options, transport=transport) as client:
        say(f"session {transport.session_id}")
        for prompt in args.prompts:
            await client.query(prompt)
            async for message in client.receive_response():
                if isinstance(message, AssistantMessage):
                    for block in message.content:
                        if isinstance(block, TextBlock):
                            print(block.text, flush=True)
                elif isinstance(message, ResultMessage):
                    failed = failed or message.is_error
                    say(f"{message.subtype}, {message.duration_ms / 1000:.1f} s")
    return int(failed)


def main() -> int:
    parser = argparse.ArgumentParser(description="Talk to Claude through a cc-gateway with the Agent SDK.")
    parser.add_argument("prompts", nargs="+", metavar="prompt")
    parser.add_argument("--url", default=os.environ.get("CC_GATEWAY_URL", "http://127.0.0.1:8001"))
    parser.add_argument(
        "--ws-url", default=os.environ.get("CC_GATEWAY_WS_URL", "ws://127.0.0.1:8003")
    )
    parser.add_argument("--username")
    parser.add_argument("--password-file")
    parser.add_argument("--model")
    parser.add_argument("--allow", action="append", default=[], metavar="TOOL", help="such as Bash")
    try:
        return asyncio.run(run(parser.parse_args()))
    except (ClaudeSDKError, GatewayError, OSError) as error:
        print(f"agent_sdk: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
