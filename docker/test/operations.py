#!/usr/bin/env python3
"""Tries the steps of docs/deployment.md on a real image: a new login without downtime, an upgrade by drain, backup and restore.

The commands are those of the document, but for names and ports: containers are on the host's network, and Claude talks to a
stand-in of its API on this machine.

    IMAGE=cc-gateway docker/test/operations.py PROGRAMS       the directory with messages-api
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
from pathlib import Path

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from harness import Door, call, carry_out, check, directory, eventually, programs, say, start

PROJECT = f"cc-gateway-operations-{os.getpid()}"
ROOT = Path(__file__).resolve().parent.parent.parent
IMAGE = os.environ["IMAGE"]
HTTP, WS, REDIS_PORT = "127.0.0.1:18200", "127.0.0.1:18203", "18279"


def run(*command: str, **options: object) -> str:
    """Runs a command of docker's; what it printed. Fails with that if the command does."""
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}")
    return done.stdout


def compose_program() -> list[str]:
    found = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    return ["docker", "compose"] if found else ["docker-compose"]


def dc(*arguments: str, **options: object) -> str:
    return run(*compose_program(), "-p", PROJECT, "-f", f"{directory}/compose.json", *arguments, **options)


def composed(image: str, api: str) -> None:
    """Writes the configuration of compose for that image."""
    override = directory / "override.yml"
    override.write_text(
        f"services:\n  gateway:\n    environment:\n"
        f"      CC_GATEWAY_HTTP_LISTEN: {HTTP}\n      CC_GATEWAY_WS_LISTEN: {WS}\n"
        f"      CC_GATEWAY_STORE_URL: redis://:${{REDIS_PASSWORD}}@127.0.0.1:{REDIS_PORT}\n"
        f"      CC_GATEWAY_DRAIN_GRACE_SECONDS: '3'\n"
        f"      CC_GATEWAY_AGENT_ENV: ANTHROPIC_BASE_URL={api},CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1\n"
        f"  redis:\n    environment:\n      REDIS_PORT: '{REDIS_PORT}'\n"
    )
    program = compose_program()
    form = ["--format", "json"] if program[0] == "docker" else []
    env = os.environ | {"CC_GATEWAY_IMAGE": image, "UPLOADS": str(directory / "uploads"), "MEMORY": "4g"}
    files = ["--env-file", str(directory / "env"), "-f", "docker-compose.yml", "-f", str(override)]
    text = run(*program, *files, "config", *form, env=env)
    (directory / "compose.json").write_text(run("docker/test/host-network.py", input=text))


def login(name: str, days: int) -> str:
    """A login of Claude's that ends in so many days."""
    token = {"accessToken": f"sk-ant-oat01-{name}", "refreshToken": "sk-ant-ort01-x", "expiresAt": int(time.time() + days * 86400) * 1000}
    return json.dumps({"claudeAiOauth": token | {"scopes": ["user:inference"], "subscriptionType": "max"}})


def container() -> str:
    return dc("ps", "-q", "gateway").strip()


def healthy() -> bool:
    return run("docker", "inspect", "-f", "{{.State.Health.Status}}", container()).strip() == "healthy"


def installed() -> str:
    """Claude's login inside: whose token, and whose file."""
    where = "/claude/.credentials.json"
    text = run("docker", "exec", container(), "sh", "-c", f"cat {where}; stat -c ' %U %a' {where}")
    return re.sub(r'.*oat01-(\w+)".*\}(.*)', r"\1\2", text).strip()


class Conversation:
    """An interactive session as a client that comes back with its cursor sees it."""

    def __init__(self, door: Door) -> None:
        self.door, self.id, self.numbers, self.said = door, "", [0], ""
        self.client: ClientConnection

    async def begin(self, prompt: str) -> None:
        self.client = await self.door.socket()
        self.id = (await call(self.client, "session.start", prompt=prompt, interactive=True, attach=False))["session_id"]
        await self.come_back()

    async def come_back(self) -> None:
        self.client = await self.door.socket()
        await self.client.send(json.dumps({"jsonrpc": "2.0", "id": 7, "method": "session.attach",
                                           "params": {"session_id": self.id, "after_seq": self.numbers[-1]}}))

    async def send(self, prompt: str) -> None:
        await self.client.send(json.dumps({"jsonrpc": "2.0", "id": 8, "method": "session.send",
                                           "params": {"session_id": self.id, "prompt": prompt}}))

    async def until(self, words: str) -> None:
        """Reads on until an event holds these words."""
        async with asyncio.timeout(120):
            while words not in self.said:
                await self.take()

    async def take(self) -> None:
        message = json.loads(await self.client.recv())
        if message.get("method") == "session.event":
            self.numbers.append(message["params"]["seq"])
            self.said += json.dumps(message["params"])
        elif "error" in message:
            raise RuntimeError(json.dumps(message))

    async def until_closed(self) -> int:
        """Reads on until the gateway closes; the code that it gives."""
        try:
            async with asyncio.timeout(120):
                while True:
                    await self.take()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def gapless(self) -> bool:
        return self.numbers == list(range(len(self.numbers)))


async def first_steps(api: str) -> Door:
    """From nothing to a session, as the document's five steps say."""
    say("first steps")
    (directory / "uploads").mkdir()
    env = directory / "env"
    run("sh", "-c", f"cp docker/.env.example {env} && chmod 600 {env} && sed -i \"s/^CC_GATEWAY_JWT_SECRET=$/&$(openssl rand -hex 48)/;"
        f" s/^REDIS_PASSWORD=$/&$(openssl rand -hex 24)/\" {env}")
    (directory / "one.json").write_text(login("one", 1))
    run("install", "-m", "0644", f"{directory}/one.json", f"{directory}/uploads/.credentials.json")
    composed(IMAGE, api)
    dc("up", "-d", "--no-build")
    await eventually("the gateway is healthy", healthy)
    log = run("sh", "-c", f"docker logs {container()} 2>&1 | grep 'First start'")
    password = re.search(r"with the password (\S+) ", log)
    check("the log's line of the first start has the password", password is not None, log)
    door = Door(HTTP, WS, name="localhost")
    status = door.log_in(password=password[1] if password else "")
    check("the admin logs in", status == 200, status)
    answer = run("docker", "exec", "-u", "gateway", "-e", f"CC_GATEWAY_TOKEN={door.token}", "-e", f"CC_GATEWAY_WS_URL=ws://{WS}/ws",
                 container(), "cc-gateway", "exec", "Say hello [[text:Hello with a login]]")
    check("a session of the real Claude Code with an uploaded login", "Hello with a login" in answer, answer)
    check("the uploaded login is the agent's", installed() == "one agent 600", installed())
    return door


async def new_login(door: Door) -> Conversation:
    """A new login while a conversation goes on, in both ways of the document."""
    say("a new login without downtime")
    before = run("docker", "inspect", "-f", "{{.State.StartedAt}} {{.RestartCount}}", container())
    talk = Conversation(door)
    await talk.begin("remember this [[text:first answer]]")
    await talk.until("first answer")
    (directory / "two.json").write_text(login("two", 2))
    run("install", "-m", "0644", f"{directory}/two.json", f"{directory}/uploads/.credentials.json")
    await eventually("the file is taken up", lambda: installed() == "two agent 600")
    check("a file that is replaced is taken up while the gateway runs", True)
    await talk.send("[[text:second answer]]")
    await talk.until("second answer")
    dc("exec", "-T", "-u", "agent", "gateway", "cc-gateway", "credentials", "install", "-", input=login("three", 3))
    check("a login is installed from outside", installed() == "three agent 600", installed())
    await talk.send("[[text:third answer]]")
    await talk.until("third answer")
    check("the conversation has gone on", talk.gapless(), talk.numbers)
    status = json.loads(door.request("/auth/status")[1])
    check("GET /auth/status tells a login that serves", status["status"] == "authenticated" and status["usable"], status)
    after = run("docker", "inspect", "-f", "{{.State.StartedAt}} {{.RestartCount}}", container())
    check("and nothing was restarted", after == before, (before, after))
    return talk


async def upgrade(door: Door, talk: Conversation, api: str) -> str:
    """Another image takes the gateway's place while one conversation rests and another session runs; its id."""
    say("an upgrade by drain")
    newer = f"{PROJECT}-newer"
    run("docker", "build", "-t", newer, "-", input=f"FROM {IMAGE}\nLABEL newer=yes\n")
    client = await door.socket()
    running = (await call(client, "session.start", prompt="[[slow:3000:100]]", partial_messages=True))["session_id"]
    async with asyncio.timeout(60):
        while "stream_event" not in str(await client.recv()):
            pass
    composed(newer, api)
    closing = asyncio.create_task(talk.until_closed())
    await asyncio.to_thread(dc, "up", "-d", "--no-build", "gateway")
    code = await closing
    check("clients are told to come back", code == 1012, code)
    await eventually("the new one is healthy", healthy)
    label = run("docker", "inspect", "-f", "{{.Config.Labels.newer}}", container()).strip()
    check("the new image runs", label == "yes", label)
    await talk.come_back()
    await talk.send("what was before? [[text:fourth answer]]")
    await talk.until("fourth answer")
    check("a conversation at rest goes on, and its reader misses nothing", talk.gapless(), talk.numbers)
    check("the new login is kept", installed() == "three agent 600", installed())
    client = await door.socket()
    record = await call(client, "session.get", session_id=running)
    check("what ran was cut short as drained", record["ended"]["reason"] == "drained", record)
    resumed = await call(client, "session.start", prompt="go on [[text:resumed]]", resume=running)
    said = ""
    async with asyncio.timeout(60):
        while '"session.ended"' not in said:
            said += str(await client.recv())
    check("and can be resumed", "resumed" in said and "completed" in said, (resumed, said[-500:]))
    await client.close()
    return newer


async def backup(door: Door, talk: Conversation) -> None:
    """A copy of all volumes, everything gone, and back from the copy."""
    say("backup and restore")
    volumes = ["data", "claude", "workspaces", "redis"]
    place = directory / "backup"
    place.mkdir()
    # The gateway's own stop is what the document promises: a drain.
    closing = asyncio.create_task(talk.until_closed())
    await asyncio.to_thread(dc, "stop")
    await closing
    for volume in volumes:
        run("docker", "run", "--rm", "--network", "none", "-v", f"{PROJECT}_{volume}:/from:ro", "-v", f"{place}:/to",
            "debian:bookworm-slim", "tar", "-C", "/from", "-czf", f"/to/{volume}.tgz", ".")
    dc("start")
    await eventually("healthy after the backup", healthy)
    dc("down", "-v")
    left = run("docker", "volume", "ls", "-q", "--filter", f"name={PROJECT}_").split()
    check("everything is gone", left == [], left)
    dc("up", "--no-start", "--no-build")
    for volume in volumes:
        run("docker", "run", "--rm", "--network", "none", "-v", f"{PROJECT}_{volume}:/to", "-v", f"{place}:/from:ro",
            "debian:bookworm-slim", "tar", "-C", "/to", "-xzf", f"/from/{volume}.tgz")
    dc("start")
    await eventually("healthy after the restore", healthy)
    await talk.come_back()
    await talk.send("[[text:fifth answer]]")
    await talk.until("fifth answer")
    check("a conversation goes on after the restore, and its reader misses nothing", talk.gapless(), talk.numbers)
    check("Claude's login is back", installed() == "three agent 600", installed())
    sessions = (await call(await door.socket(), "session.list"))["sessions"]
    check("all sessions are back", len(sessions) == 4, sessions)


async def main() -> None:
    start("api", [str(programs / "messages-api")], {})
    await eventually("the stand-in serves", lambda: "port" in (directory / "api.log").read_text())
    api = f"http://127.0.0.1:{json.loads((directory / 'api.log').read_text().splitlines()[0])['port']}"
    newer = ""
    try:
        door = await first_steps(api)
        talk = await new_login(door)
        newer = await upgrade(door, talk, api)
        await backup(door, talk)
    except Exception:
        say(run("sh", "-c", f"docker logs --tail 30 {container()} 2>&1 || true"))
        raise
    finally:
        if (directory / "compose.json").exists():
            dc("down", "-v", "--remove-orphans")
        if newer:
            run("docker", "rmi", newer)


if __name__ == "__main__":
    carry_out(main)
