#!/usr/bin/env python3
"""Puts three containers of a real image, configured as docker/compose.several.yml says, behind a real nginx.

The engine may have no bridge, so the containers are on the host's network, each with an address of its own; that is all that
differs from `docker compose … --scale gateway=3`, whose `!reset` and `!override` are carried out here.

    IMAGE=cc-gateway docker/test/replicas.py PROGRAMS       the directory with messages-api
"""

from __future__ import annotations

import copy
import json
import os
import re
import secrets
import subprocess
from pathlib import Path

import yaml

from harness import PASSWORD, Gateway, carry_out, check, directory, eventually, programs, say, start
from several import ADDRESSES, behind_nginx, nginx_for_several, node

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = f"cc-gateway-replicas-{os.getpid()}"
HTTP_PORT, WS_PORT, REDIS_PORT = "18300", "18303", "18379"
VARIABLES = {
    "CC_GATEWAY_IMAGE": os.environ["IMAGE"], "CC_GATEWAY_JWT_SECRET": secrets.token_hex(32), "REDIS_PASSWORD": secrets.token_hex(16),
    "UPLOADS": str(directory / "uploads"), "MEMORY": "2g",
}


class Replace:
    """A value that takes another one's place instead of being added to it: `!override` and `!reset`."""

    def __init__(self, value: object) -> None:
        self.value = value


class Tags(yaml.SafeLoader):
    """YAML with the two tags of Compose."""


for tag in ("!override", "!reset"):
    Tags.add_constructor(tag, lambda loader, found: Replace(loader.construct_sequence(found, deep=True)))


def merged(below: object, above: object) -> object:
    """One value of a file laid over one of the file before it, as Compose does."""
    if isinstance(above, Replace):
        return above.value
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: merged(below.get(key), value) for key, value in above.items()}
    return above


def filled_in(text: str) -> str:
    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", lambda found: VARIABLES.get(found[1]) or found[2] or "", text)


def compose(*arguments: str, **options: object) -> str:
    have = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    command = [*(["docker", "compose"] if have else ["docker-compose"]), *arguments]
    env = os.environ | VARIABLES
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}")
    return done.stdout


def dc(*arguments: str) -> str:
    return compose("-p", PROJECT, "-f", f"{directory}/compose.json", *arguments)


def configuration(api: str) -> dict:
    """The two files as one, with a service for each gateway in place of --scale."""
    base = yaml.safe_load(compose("-f", "docker-compose.yml", "config"))
    above = yaml.load(filled_in((ROOT / "docker/compose.several.yml").read_text()), Tags)
    config = merged(base, above)
    assert isinstance(config, dict)
    gateway, redis = config["services"].pop("gateway"), config["services"]["redis"]
    del config["services"]["nginx"]
    redis["environment"]["REDIS_PORT"] = REDIS_PORT
    gateway["environment"] |= {
        "CC_GATEWAY_STORE_URL": f"redis://:{VARIABLES['REDIS_PASSWORD']}@127.0.0.1:{REDIS_PORT}",
        "CC_GATEWAY_AGENT_ENV": f"ANTHROPIC_BASE_URL={api},ANTHROPIC_API_KEY=sk-ant-stand-in,CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
        "CC_GATEWAY_TRUSTED_PROXIES": "127.0.0.1", "CC_GATEWAY_ALLOWED_HOSTS": "gateway.example.com",
        "CC_GATEWAY_ADMIN_PASSWORD_FILE": "/uploads/password", "CC_GATEWAY_DRAIN_GRACE_SECONDS": "5",
    }
    for each, address in enumerate(ADDRESSES, 1):
        replica = copy.deepcopy(gateway)
        replica["environment"] |= {"CC_GATEWAY_HTTP_LISTEN": f"{address}:{HTTP_PORT}", "CC_GATEWAY_WS_LISTEN": f"{address}:{WS_PORT}"}
        config["services"][f"gateway-{each}"] = replica
    return config


class Replica:
    """A container in the place of a process."""

    def __init__(self, service: str) -> None:
        self.id = dc("ps", "-q", service).strip()

    def docker(self, *arguments: str) -> str:
        return subprocess.run(["docker", *arguments, self.id], check=True, capture_output=True, text=True).stdout.strip()

    def healthy(self) -> bool:
        return self.docker("inspect", "-f", "{{.State.Health.Status}}") == "healthy"

    def terminate(self) -> None:
        # Without waiting, as `docker stop` would.
        self.docker("kill", "--signal", "TERM")

    def poll(self) -> int | None:
        running, _, code = self.docker("inspect", "-f", "{{.State.Running}} {{.State.ExitCode}}").partition(" ")
        return None if running == "true" else int(code)

    def kill(self) -> None:
        self.docker("kill")

    def wait(self) -> int:
        return int(self.docker("wait"))


async def main() -> None:
    nginx = nginx_for_several()
    if not nginx:
        return
    (directory / "uploads").mkdir()
    (directory / "uploads" / "password").write_text(PASSWORD)
    start("api", [str(programs / "messages-api")], {})
    await eventually("the stand-in serves", lambda: "port" in (directory / "api.log").read_text())
    api = f"http://127.0.0.1:{json.loads((directory / 'api.log').read_text().splitlines()[0])['port']}"
    text = subprocess.run([ROOT / "docker/test/host-network.py"], input=json.dumps(configuration(api)), text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    (directory / "compose.json").write_text(text)
    try:
        dc("up", "-d", "--no-build")
        members: dict[str, Gateway] = {}
        for each, address in enumerate(ADDRESSES, 1):
            replica = Replica(f"gateway-{each}")
            await eventually(f"gateway {each} is healthy", replica.healthy)
            member = Gateway(replica, f"{address}:{HTTP_PORT}", f"{address}:{WS_PORT}")
            members[await node(member)] = member
        check("each replica is a node of its own", len(members) == len(ADDRESSES), list(members))
        await behind_nginx(nginx, members, "[[text:before]]", "[[hang]]")
    except Exception:
        say(dc("logs", "--tail", "20"))
        raise
    finally:
        dc("down", "-v", "--remove-orphans")


if __name__ == "__main__":
    carry_out(main)
