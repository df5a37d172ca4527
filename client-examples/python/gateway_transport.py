"""Run Claude Code on a cc-gateway instead of on this machine, with the official Claude Agent SDK.

The SDK talks to Claude Code through a `Transport`. This one speaks to a *raw* session of a
gateway: what the SDK writes goes there with `session.input`, and the session's `claude` events,
in their order, are what the SDK reads. Hooks, permission callbacks and in-process MCP servers
run here, in your program; Claude and its other tools run where the gateway is.

    options = ClaudeAgentOptions(hooks=..., can_use_tool=..., mcp_servers=...)
    transport = GatewayTransport(ws_url, token, start_parameters(options))
    async with ClaudeSDKClient(options, transport=transport) as client:
        ...

Two WebSockets are used: one for calls and one for events. So a program that reads slowly slows
nothing down but itself. Either comes back by itself when it is lost; the events go on
where they stopped. The caller's token needs the scope `raw`. Works under asyncio, not under trio.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
from claude_agent_sdk import (
    ClaudeAgentOptions,
    CLIConnectionError,
    ProcessError,
    Transport,
)
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from run_session import Connection, GatewayError, Json

#: Gives an access token. It is asked again for every connection, since tokens run out.
Token = Callable[[], Awaitable[str]]

WRONG_STATE = -32006
UNAVAILABLE = 503

# Options that the SDK itself sends, handles in this process, or has for its own program only.
BY_THE_SDK = {
    "agents", "can_use_tool", "debug_stderr", "forward_subagent_text", "hooks", "load_timeout_ms",
    "max_buffer_size", "skills", "verbatim_prompts",
}  # fmt: skip
# Options that become parameters of `session.start`. A resumed conversation is always forked.
AS_PARAMETERS = {
    "allowed_tools", "cwd", "disallowed_tools", "fork_session", "include_partial_messages",
    "max_budget_usd", "max_turns", "mcp_servers", "model", "output_format", "permission_mode",
    "resume", "system_prompt",
}  # fmt: skip


def start_parameters(options: ClaudeAgentOptions) -> Json:
    """The parameters of `session.start` that say the same as these options.

    Raises `ValueError` for options that a gateway does not take from its callers: environment,
    settings, plugins, extra flags, directories beside the workspace and the like. The operator
    of the gateway decides about those.
    """
    unset = ClaudeAgentOptions()
    foreign = [
        field.name
        for field in dataclasses.fields(options)
        if field.name not in BY_THE_SDK | AS_PARAMETERS
        and getattr(options, field.name) != getattr(unset, field.name)
    ]
    if foreign:
        raise ValueError(f"a gateway does not take these options: {', '.join(sorted(foreign))}")
    parameters: Json = {
        "model": options.model,
        "permission_mode": options.permission_mode,
        "allowed_tools": options.allowed_tools,
        "disallowed_tools": options.disallowed_tools,
        "max_turns": options.max_turns,
        "max_budget_usd": options.max_budget_usd,
        "partial_messages": options.include_partial_messages,
        "resume": options.resume,
        "workspace": None if options.cwd is None else str(options.cwd),
        "mcp_config": _mcp_config(options.mcp_servers),
    }
    parameters |= _system_prompt(options.system_prompt)
    if options.output_format is not None:
        if options.output_format.get("type") != "json_schema":
            raise ValueError("output_format: a gateway knows only `json_schema`")
        parameters["json_schema"] = options.output_format["schema"]
    return {name: value for name, value in parameters.items() if value not in (None, [], {}, False)}


def _mcp_config(servers: Any) -> Json:
    if not isinstance(servers, dict):
        raise ValueError("mcp_servers: a gateway reads no file of yours; give the servers themselves")
    # The instance of an in-process server stays here; Claude only learns its name.
    return {
        name: {member: value for member, value in server.items() if member != "instance"}
        for name, server in servers.items()
    }


def _system_prompt(prompt: Any) -> Json:
    match prompt:
        case None | {"type": "preset", "append": None}:
            return {}
        case str():
            return {"system_prompt": prompt}
        case {"type": "preset", "append": str(appended)}:
            return {"append_system_prompt": appended}
        case {"type": "preset"}:
            return {}
    raise ValueError("system_prompt: a gateway takes a text or the preset with an addition")


class GatewayTransport(Transport):
    """One raw session of a gateway, as the SDK's transport.

    `parameters` are those of `session.start`, mostly from `start_parameters`. The session ends
    with the SDK's client, and also if this program goes away without a word. `patience` says
    for how many seconds a lost gateway is tried again.
    """

    def __init__(
        self, ws_url: str, token: Token, parameters: Json, *, patience: float = 60.0
    ) -> None:
        self._ws_url = ws_url
        self._token = token
        self._parameters = parameters
        self._patience = patience
        self._caller: Connection | None = None
        self._reader: Connection | None = None
        # One call at a time: what the SDK writes must not change its order.
        self._calling = asyncio.Lock()
        self._session_id: str | None = None
        self._last_seq = 0
        self._state: str | None = None
        self._ended: Json | None = None
        # Claude's lines that came before the SDK began to read.
        self._early: list[Json] = []
        # Messages whose turn has not begun.
        self._waiting: set[str] = set()
        self._input_ended = False
        self._stopped = False
        self._failed_result = False

    @property
    def session_id(self) -> str | None:
        """The session's id, once it has been started; also Claude's session id."""
        return self._session_id

    async def connect(self) -> None:
        """Starts the session and waits until Claude is ready."""
        parameters = {
            **self._parameters,
            "raw": True,
            "interactive": True,
            # The events come by a connection of their own.
            "attach": False,
            "on_disconnect": "stop",
            # Makes it safe to send the same start again: it gives the same session.
            "idempotency_key": str(uuid.uuid4()),
        }
        try:
            started = await self._call("session.start", parameters)
            self._session_id = str(started["session_id"])
            async for event in self._events():
                if event["type"] == "claude":
                    self._early.append(event["data"])
                elif event["type"] == "session.started":
                    return
        except GatewayError as error:
            await self.close()
            raise CLIConnectionError(str(error)) from error
        raise CLIConnectionError(f"the session has ended before it began: {self._ended}")

    def is_ready(self) -> bool:
        return self._session_id is not None and self._ended is None

    async def write(self, data: str) -> None:
        """Hands one line to the gateway, which judges it like its own methods.

        A refusal is raised here. The SDK passes it on to whoever asked for the change; for the
        answer to a question of Claude's it sends an error in its place.
        """
        message: Json = json.loads(data)
        if message["type"] == "user":
            # With an id of ours the same message, sent again, is still one message.
            message.setdefault("uuid", str(uuid.uuid4()))
            self._waiting.add(message["uuid"])
        try:
            await self._call("session.input", {"session_id": self._session_id, "message": message})
        except GatewayError as error:
            if message["type"] == "control_response" and error.code == WRONG_STATE:
                return  # Claude has taken its question back, or somebody else has answered
            self._waiting.discard(message.get("uuid", ""))
            raise CLIConnectionError(str(error)) from error

    async def read_messages(self) -> AsyncIterator[Json]:
        """Claude's lines, each once and in order."""
        for line in self._early:
            yield line
        self._early = []
        try:
            async for event in self._events():
                if event["type"] == "claude":
                    if event["data"].get("type") == "result":
                        self._failed_result = bool(event["data"].get("is_error"))
                    yield event["data"]
                elif event["type"] == "session.state":
                    await self._stop_if_done()
        except GatewayError as error:
            raise CLIConnectionError(str(error)) from error
        ended = self._ended or {}
        if not self._stopped:
            text = f"the session has ended: {ended.get('reason')} {ended.get('message') or ''}"
            raise ProcessError(text.rstrip(), exit_code=ended.get("exit_code"))
        if self._failed_result:
            # So ends Claude Code itself when its last turn has failed.
            raise ProcessError("Claude's last turn has failed", exit_code=1)

    async def end_input(self) -> None:
        """No more messages: the session ends once all of them have their results."""
        self._input_ended = True
        with suppress(GatewayError):
            await self._stop_if_done()

    async def close(self) -> None:
        """Ends the session, unless it has ended."""
        with anyio.move_on_after(20):
            with suppress(GatewayError):
                if self._session_id is not None and self._ended is None:
                    await self._stop()
                    async for _event in self._events():
                        pass
            for connection in (self._caller, self._reader):
                if connection is not None:
                    await connection.close()
        self._caller = self._reader = None

    async def _stop_if_done(self) -> None:
        if self._input_ended and self._state == "idle" and not self._waiting:
            await self._stop()

    async def _stop(self) -> None:
        self._stopped = True
        await self._call("session.stop", {"session_id": self._session_id})

    async def _call(self, method: str, params: Json) -> Json:
        """One call; over a new connection, if the old one is lost.

        Everything that is called here may come twice: starts and messages have ids, answers to
        Claude are taken once, and the SDK ignores a second answer to its own requests.
        """
        async with self._calling:
            connection = self._caller
            while True:
                try:
                    self._caller = connection = connection or await self._open()
                    return await connection.call(method, params)
                except (ConnectionClosed, OSError):
                    self._caller = connection = None

    async def _events(self) -> AsyncIterator[Json]:
        """The session's events after the last one seen, to its end."""
        while self._ended is None:
            try:
                if self._reader is None:
                    reader = await self._open()
                    position = {"session_id": self._session_id, "after_seq": self._last_seq}
                    await reader.call("session.attach", position)
                    self._reader = reader
                async for frame in self._reader.notifications():
                    event: Json = frame.get("params") or {}
                    if event.get("session_id") != self._session_id:
                        continue
                    if frame["method"] == "session.detached":
                        raise GatewayError(f"the session's events are gone: {event.get('reason')}")
                    if frame["method"] != "session.event":
                        continue
                    self._take(event)
                    yield event
                    if self._ended is not None:
                        break
            except (ConnectionClosed, OSError):
                self._reader = None

    def _take(self, event: Json) -> None:
        if event["seq"] != self._last_seq + 1:
            raise GatewayError(f"events are missing after {self._last_seq}")
        self._last_seq = event["seq"]
        if event["type"] == "session.state":
            self._state = event["data"]["state"]
            # The state of a turn names the message that it begins with.
            self._waiting.discard(event["data"].get("message_id"))
        elif event["type"] == "session.ended":
            self._ended = event["data"]

    async def _open(self) -> Connection:
        """A new connection. Once there is a session, a gateway that restarts gets its time."""
        wait = 0.1
        patience = self._patience if self._session_id is not None else 0.0
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            try:
                return await Connection.open(self._ws_url, await self._token())
            except (GatewayError, ConnectionClosed, InvalidHandshake, OSError) as error:
                status = getattr(error, "code", None) if isinstance(error, GatewayError) else None
                refused = status not in (None, UNAVAILABLE)
                if refused or asyncio.get_running_loop().time() + wait > deadline:
                    raise GatewayError(f"no way to the gateway: {error}") from error
            await asyncio.sleep(wait)
            wait = min(2 * wait, 5.0)
