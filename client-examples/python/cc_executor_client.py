#!/usr/bin/env python3
"""A client in cc_executor's dialect, as its documents show it, with the access token added.

Frames are those of cc_executor: ``connected``, ``execute``, ``process.started``, ``process.output``,
``ping``/``pong``, ``process.completed``, and ``control`` with PAUSE, RESUME and CANCEL. What is new is
only the ``Authorization`` header.

    export CC_GATEWAY_TOKEN=...
    python cc_executor_client.py 'claude -p "What is 2+2?" --output-format stream-json --verbose'
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

Json = dict[str, Any]


async def call(socket: ClientConnection, number: int, method: str, params: Json) -> None:
    """Sends a request; its answer comes among the notifications."""
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    await socket.send(json.dumps(request))


async def read_to_the_end(socket: ClientConnection) -> int:
    """Prints the output; gives the exit code of ``process.completed``."""
    async for text in socket:
        frame: Json = json.loads(text)
        params: Json = frame.get("params") or {}
        method = frame.get("method")
        if error := frame.get("error"):
            print(f"refused: {error['message']} ({error['code']})", file=sys.stderr)
            return 1
        if method == "process.output":
            stream = sys.stderr if params["type"] == "stderr" else sys.stdout
            print(params["data"], end="", file=stream, flush=True)
        elif method == "ping":
            await socket.send(json.dumps({"jsonrpc": "2.0", "method": "pong", "params": {}}))
        elif method == "process.completed":
            seconds = params["execution_time"]
            print(f"[{params['status']}, {seconds:.1f} s]", file=sys.stderr)
            code = params["exit_code"]
            return code if isinstance(code, int) and 0 <= code <= 255 else 1
        elif method in ("process.started", "process.paused", "process.resumed", "process.canceled"):
            print(f"[{params['status']}, pid {params['pid']}]", file=sys.stderr)
    print("the connection ended before the command did", file=sys.stderr)
    return 1


def refusal(status: int, body: bytes | bytearray | None) -> str:
    """What the gateway says when it refuses the connection."""
    try:
        problem: Json = json.loads(body or b"")
        return f"refused ({status}): {problem['title']} {problem.get('detail') or ''}".rstrip()
    except (ValueError, KeyError, TypeError):
        return f"refused ({status})"


async def run(args: argparse.Namespace) -> int:
    token = args.token or os.environ.get("CC_GATEWAY_TOKEN")
    if not token:
        print("give --token or set CC_GATEWAY_TOKEN", file=sys.stderr)
        return 1
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(args.ws_url, additional_headers=headers, max_size=None) as socket:
        hello: Json = json.loads(await socket.recv())
        if hello.get("method") != "connected":
            print(f"not connected: {hello}", file=sys.stderr)
            return 1
        params: Json = {"command": args.command}
        if args.timeout is not None:
            params["timeout"] = args.timeout
        await call(socket, 1, "execute", params)
        reading = asyncio.ensure_future(read_to_the_end(socket))
        if args.cancel_after is not None:
            await asyncio.wait({reading}, timeout=args.cancel_after)
            if not reading.done():
                await call(socket, 2, "control", {"type": "CANCEL"})
        return await reading


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a command in cc_executor's dialect.")
    parser.add_argument("command", help="the command line, e.g. 'claude -p \"Hello\"'")
    parser.add_argument("--ws-url", default="ws://127.0.0.1:8003/ws/mcp")
    parser.add_argument("--token", help="an access token; better: CC_GATEWAY_TOKEN")
    parser.add_argument("--timeout", type=int, help="seconds")
    parser.add_argument("--cancel-after", type=float, metavar="SECONDS")
    try:
        return asyncio.run(run(parser.parse_args()))
    except InvalidStatus as error:
        print(refusal(error.response.status_code, error.response.body), file=sys.stderr)
    except (ConnectionClosed, InvalidHandshake, OSError) as error:
        print(f"cc_executor_client: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
