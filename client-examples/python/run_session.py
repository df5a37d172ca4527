#!/usr/bin/env python3
"""Run one prompt on a cc-gateway and print Claude's text as it comes.

Shows the whole way: log in, connect, start a session, read its events, come back once with
``after_seq`` when the connection drops, and print how the session ended.

    python run_session.py "What is 2 + 2?" --username alice --password-file password.txt
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import AsyncIterator
from getpass import getpass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

Json = dict[str, Any]

# The gateway keeps lines of up to 16 MiB whole; in JSON they can grow.
MAX_MESSAGE_BYTES = 128 * 1024 * 1024


class GatewayError(Exception):
    """What the gateway refused, in its own words.

    ``code`` is the error's code, or the HTTP status of a refusal before that.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


def log_in(url: str, username: str, password: str) -> str:
    """``POST /login``; gives the access token."""
    body = json.dumps({"username": username, "password": password}).encode()
    request = urllib.request.Request(
        f"{url.rstrip('/')}/login", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: Json = json.load(response)
    except urllib.error.HTTPError as error:
        raise GatewayError(refusal(error.code, error.read()), error.code) from error
    except urllib.error.URLError as error:
        raise GatewayError(f"no gateway at {url}: {error.reason}") from error
    return str(answer["access_token"])


def refusal(status: int, body: bytes | bytearray | None) -> str:
    """Every refusal carries ``application/problem+json`` that a person can read."""
    try:
        problem: Json = json.loads(body or b"")
        return f"refused ({status}): {problem['title']} {problem.get('detail') or ''}".rstrip()
    except (ValueError, KeyError, TypeError):
        return f"refused ({status})"


class Connection:
    """One WebSocket: calls with their answers, and the events that come between them."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last_id = 0
        # Events that came before the answer that was waited for.
        self._early: list[Json] = []

    @classmethod
    async def open(cls, ws_url: str, token: str) -> Connection:
        try:
            socket = await connect(
                ws_url,
                additional_headers={"Authorization": f"Bearer {token}"},
                max_size=MAX_MESSAGE_BYTES,
                compression=None,
            )
        except InvalidStatus as error:
            response = error.response
            text = refusal(response.status_code, response.body)
            raise GatewayError(text, response.status_code) from error
        connection = cls(socket)
        first = await connection._receive()
        if first.get("method") != "connected":
            raise GatewayError(f"something else than a cc-gateway answers at {ws_url}")
        return connection

    async def close(self) -> None:
        await self._socket.close()

    async def call(self, method: str, params: Json) -> Json:
        """One JSON-RPC call. An error object becomes a `GatewayError`."""
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        await self._socket.send(json.dumps(request))
        while True:
            frame = await self._receive()
            if "method" in frame:
                self._early.append(frame)
            elif frame.get("id") not in (self._last_id, None):
                continue  # the answer to a call that was given up
            elif error := frame.get("error"):
                raise GatewayError(f"{method}: {error['message']} ({error['code']})", error["code"])
            else:
                result: Json = frame["result"]
                return result

    async def notifications(self) -> AsyncIterator[Json]:
        """Everything that comes without having been asked for."""
        while True:
            frame = self._early.pop(0) if self._early else await self._receive()
            if "method" in frame:
                yield frame

    async def _receive(self) -> Json:
        frame: Json = json.loads(await self._socket.recv())
        return frame


async def events(
    connection: Connection, ws_url: str, token: str, session_id: str
) -> AsyncIterator[Json]:
    """A session's events, each once and in order, also over one lost connection."""
    last_seq = 0
    may_return = True
    while True:
        try:
            async for frame in connection.notifications():
                event: Json = frame.get("params") or {}
                if frame["method"] != "session.event" or event["session_id"] != session_id:
                    continue
                if event["seq"] <= last_seq:
                    continue  # seen before the connection was lost
                if event["seq"] != last_seq + 1:
                    raise GatewayError(f"events are missing after {last_seq}")
                last_seq = event["seq"]
                yield event
                if event["type"] == "session.ended":
                    return
        except (ConnectionClosed, OSError) as error:
            if not may_return:
                raise GatewayError(f"the connection was lost twice: {error}") from error
            may_return = False
            print(f"[connection lost; coming back after event {last_seq}]", file=sys.stderr)
            # Wait a little: a gateway that restarts needs a moment.
            await asyncio.sleep(1)
            connection = await Connection.open(ws_url, token)
            await connection.call(
                "session.attach", {"session_id": session_id, "after_seq": last_seq}
            )


def texts(line: Json) -> list[str]:
    """The text blocks of one of Claude's `assistant` lines."""
    if line.get("type") != "assistant" or line.get("parent_tool_use_id"):
        return []
    content = line["message"]["content"]
    return [block["text"] for block in content if block.get("type") == "text"]


async def run(args: argparse.Namespace) -> int:
    token = args.token or os.environ.get("CC_GATEWAY_TOKEN")
    if not token:
        if not args.username:
            raise GatewayError("give --token or --username, or set CC_GATEWAY_TOKEN")
        if args.password_file:
            password = Path(args.password_file).read_text().rstrip("\r\n")
        else:
            password = getpass("Password: ")
        token = await asyncio.to_thread(log_in, args.url, args.username, password)
    host = urllib.parse.urlsplit(args.url).hostname or "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    ws_url = args.ws_url or f"ws://{host}:8003"
    if urllib.parse.urlsplit(ws_url).path in ("", "/"):
        ws_url = f"{ws_url.rstrip('/')}/ws"

    connection = await Connection.open(ws_url, token)
    # The key makes it safe to send the same start again: it gives the same session.
    params = {"prompt": args.prompt, "idempotency_key": str(uuid.uuid4())}
    started = await connection.call("session.start", params)
    session_id = str(started["session_id"])
    print(f"[session {session_id}]", file=sys.stderr)

    async for event in events(connection, ws_url, token, session_id):
        if event["type"] == "claude":
            for text in texts(event["data"]):
                print(text, flush=True)
        elif event["type"] == "session.ended":
            end: Json = event["data"]
            cost = end.get("total_cost_usd")
            price = "" if cost is None else f", ${cost:.4f}"
            print(f"[{end['reason']}{price}, {end['duration_ms'] / 1000:.1f} s]", file=sys.stderr)
            await connection.close()
            return 0 if end["reason"] == "completed" and not end["is_error"] else 1
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Run one prompt on a cc-gateway.")
    parser.add_argument("prompt")
    parser.add_argument("--url", default=os.environ.get("CC_GATEWAY_URL", "http://127.0.0.1:8001"))
    parser.add_argument("--ws-url", default=os.environ.get("CC_GATEWAY_WS_URL"))
    parser.add_argument("--token", help="an access token; better: CC_GATEWAY_TOKEN")
    parser.add_argument("--username")
    parser.add_argument("--password-file")
    try:
        return asyncio.run(run(parser.parse_args()))
    except (GatewayError, ConnectionClosed, OSError) as error:
        print(f"run_session: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("[left; the session goes on]", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
