"""What the official Agent SDK finds when its Claude Code runs on a gateway, as one JSON object.

Uses the transport of the client examples. The prompts are directives for the Messages API stand-in.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "client-examples/python"))

from claude_agent_sdk import (  # noqa: E402
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    HookMatcher,
    PermissionResultAllow,
    PermissionResultDeny,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    create_sdk_mcp_server,
    query,
    tool,
)

from gateway_transport import GatewayTransport, start_parameters  # noqa: E402

facts: dict[str, Any] = {"asked": [], "hooked": [], "added": []}


async def token() -> str:
    return os.environ["CC_GATEWAY_TOKEN"]


@tool("add", "Adds two numbers", {"a": int, "b": int})
async def add(arguments: dict[str, Any]) -> dict[str, Any]:
    facts["added"].append(arguments)
    return {"content": [{"type": "text", "text": f"sum-{arguments['a'] + arguments['b']}"}]}


async def before_tool(given: Any, _tool_use_id: Any, _context: Any) -> Any:
    facts["hooked"].append(given["tool_name"])
    return {}


async def may_use(name: str, given: dict[str, Any], _context: Any) -> Any:
    facts["asked"].append([name, given.get("command")])
    if "must-not-be" in json.dumps(given):
        return PermissionResultDeny(message="not that one")
    return PermissionResultAllow()


async def turn(client: ClaudeSDKClient, prompt: str, interrupt: bool = False) -> dict[str, Any]:
    """One turn: Claude's texts, what tools gave, and the result."""
    seen: dict[str, Any] = {"texts": [], "tools": []}
    await client.query(prompt)
    async for message in client.receive_response():
        if isinstance(message, SystemMessage) and message.subtype == "init" and interrupt:
            await client.interrupt()
        elif isinstance(message, AssistantMessage):
            seen["texts"] += [block.text for block in message.content if isinstance(block, TextBlock)]
        elif isinstance(message, ResultMessage):
            seen |= {"subtype": message.subtype, "is_error": message.is_error, "session": message.session_id}
        else:
            content = getattr(message, "content", None)
            blocks = content if isinstance(content, list) else []
            seen["tools"] += [str(block.content) for block in blocks if isinstance(block, ToolResultBlock)]
    return seen


async def refusal(coroutine: Any) -> str:
    try:
        await coroutine
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
    return "not refused"


async def unsupported() -> None:
    start_parameters(ClaudeAgentOptions(env={"A": "b"}, add_dirs=["/etc"], model="haiku"))


async def main() -> None:
    ws_url = os.environ["CC_GATEWAY_WS_URL"] + "/ws"
    options = ClaudeAgentOptions(
        can_use_tool=may_use,
        hooks={"PreToolUse": [HookMatcher(matcher="Bash", hooks=[before_tool], on_failure="block")]},
        mcp_servers={"sums": create_sdk_mcp_server("sums", tools=[add])},
    )
    transport = GatewayTransport(ws_url, token, start_parameters(options))
    async with ClaudeSDKClient(options, transport=transport) as client:
        facts["text"] = await turn(client, "[[text:forty-two]]")
        facts["permissions"] = await turn(
            client, "[[bash:touch allowed]] [[bash:touch must-not-be]] [[text:both asked]]"
        )
        facts["mcp"] = await turn(client, '[[tool:mcp__sums__add|{"a":40,"b":2}]] [[text:added]]')
        facts["interrupted"] = await turn(client, "[[hang]]", interrupt=True)
        await client.set_model("claude-haiku-4-5")
        await client.set_permission_mode("acceptEdits")
        facts["refused_mode"] = await refusal(client.set_permission_mode("bypassPermissions"))
        facts["after"] = await turn(client, "[[text:still here]]")
    facts["session"] = transport.session_id
    facts["refused_option"] = await refusal(unsupported())

    # The other door of the SDK: one prompt, whose input ends before its answer is there.
    once = GatewayTransport(ws_url, token, start_parameters(ClaudeAgentOptions()))
    async for message in query(prompt="[[text:only once]]", transport=once):
        if isinstance(message, ResultMessage):
            facts["once"] = message.result
    facts["once_session"] = once.session_id
    print(json.dumps(facts))


asyncio.run(main())
