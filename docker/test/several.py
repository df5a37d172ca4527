"""nginx-several.conf in front of three gateways that share a Redis, found by a name service that says who is there."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import socket
import struct
import subprocess
import threading

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from harness import (
    Door, Gateway, adapted, call, check, directory, eventually, free_port, gateway, nginx_arguments, program, say, start, stop,
    text_until_end,
)

ADDRESSES = ["127.0.1.1", "127.0.1.2", "127.0.1.3"]


class NameService(threading.Thread):
    """Answers every question with the addresses of the gateways that are there, as Docker's own does."""

    def __init__(self, addresses: list[str]) -> None:
        super().__init__(daemon=True)
        self.addresses = addresses
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def run(self) -> None:
        while True:
            question, asker = self.socket.recvfrom(512)
            name_end = question.index(b"\0", 12) + 1
            # Only IPv4 addresses: other questions have an answer without any.
            addresses = list(self.addresses) if question[name_end : name_end + 2] == b"\0\1" else []
            head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, len(addresses), 0, 0)
            records = b"".join(struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(each) for each in addresses)
            self.socket.sendto(head + question[12 : name_end + 4] + records, asker)


def new_enough(nginx: str) -> bool:
    """Whether this nginx may look a server's name up again (`resolve`): 1.27.3 or newer."""
    said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
    return tuple(int(part) for part in said.strip().rsplit("/", 1)[1].split(" ")[0].split(".")) >= (1, 27, 3)


async def nodes(door: Door, sockets: int) -> set[str]:
    """Whose sockets these are: as many as were asked for, open at once."""
    clients = [await door.socket() for _ in range(sockets)]
    found = {(await call(client, "server.info"))["node"] for client in clients}
    for client in clients:
        await client.close()
    return found


async def node(member: Gateway) -> str:
    """A gateway's own id."""
    door = Door(member.http, member.ws)
    door.log_in()
    return (await nodes(door, 1)).pop()


async def least_on(door: Door, wanted: str) -> list[ClientConnection]:
    """Open sockets, two on each gateway but `wanted`: to that one nginx then sends the next."""
    open_on: dict[str, list[ClientConnection]] = {wanted: []}
    while len(open_on) < len(ADDRESSES) or any(len(open) < 2 for owner, open in open_on.items() if owner != wanted):
        client = await door.socket()
        open_on.setdefault((await call(client, "server.info"))["node"], []).append(client)
    for client in open_on.pop(wanted):
        await client.close()
    return [client for open in open_on.values() for client in open]


async def stopped(members: dict[str, Gateway], door: Door, names: NameService, brief: str, endless: str) -> None:
    """One gateway is told to go while it has a socket: the client is told, and comes back to another one."""
    client = await door.socket()
    leaving_node = (await call(client, "server.info"))["node"]
    session, _ = await text_until_end(client, brief)
    # What runs keeps the drain going for as long as the grace lasts.
    await call(client, "session.start", prompt=endless)
    others = await least_on(door, leaving_node)
    leaving = members.pop(leaving_node)
    leaving.process.terminate()
    itself = Door(leaving.http, leaving.ws)
    await eventually("it drains", lambda: itself.request("/readyz")[0] == 503)
    check("several: while one drains, a login", door.log_in() == 200)
    found = await nodes(door, 6)
    check("several: while one drains, new sockets find another", found == set(members), found)
    asked = (directory / "nginx-several.access").read_text()
    check("several: nginx asked the one that drains first, and then another", "503, 101" in asked, asked)
    try:
        async with asyncio.timeout(60):
            while True:
                await client.recv()
    except ConnectionClosed as closed:
        check("several: its sockets are told to come back", closed.rcvd is not None and closed.rcvd.code == 1012, closed)
    await eventually("it has gone", lambda: leaving.process.poll() is not None)
    names.addresses.remove(leaving.http.split(":")[0])
    client = await door.socket()
    kept = await call(client, "session.events", session_id=session)
    check("several: its sessions are there on another", "session.ended" in str(kept), kept)
    for each in [client, *others]:
        await each.close()


async def killed(members: dict[str, Gateway], door: Door) -> None:
    """One gateway dies while the name service still tells of it."""
    dead, dying = members.popitem()
    dying.process.kill()
    dying.process.wait()
    door.log_in()
    found = await nodes(door, 6)
    check("several: a dead one is passed over", found == set(members), (found, dead))


async def behind_nginx(nginx: str, members: dict[str, Gateway], brief: str, endless: str) -> None:
    """What must hold of these gateways by their nodes' ids; `brief` and `endless` are prompts."""
    addresses = [member.http.rpartition(":") for member in members.values()]
    names = NameService([address for address, _, _ in addresses])
    names.start()
    outer = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    servers = adapted("nginx-several.conf", {
        "resolver 127.0.0.11 valid=5s": f"resolver 127.0.0.1:{names.port} valid=1s",
        "gateway:8000": f"gateway:{addresses[0][2]}",
        "gateway:8003": f"gateway:{next(iter(members.values())).ws.rpartition(':')[2]}",
        "listen 8001": f"listen {outer[0]}",
        "listen 8003": f"listen {outer[1]}",
    })
    process = start("nginx-several", [nginx, *nginx_arguments("nginx-several", servers)])
    door = Door(*outer)
    await eventually("nginx serves", door.answers)
    check("several: /metrics stays inside", door.request("/metrics")[0] == 404)
    check("several: a login", door.log_in() == 200)
    found = await nodes(door, 6)
    check("several: sockets are spread over all gateways", found == set(members), (found, set(members)))
    await stopped(members, door, names, brief, endless)
    await killed(members, door)
    stop(process)


def nginx_for_several() -> str | None:
    """The program, if there is one that can do it."""
    nginx = program("nginx")
    if nginx and new_enough(nginx):
        return nginx
    say("*** NOT TESTED: several gateways: an nginx from 1.27.3 on is not on this machine ***")
    return None


async def main() -> None:
    """With gateways that are processes."""
    nginx, redis = nginx_for_several(), shutil.which("redis-server")
    if not redis:
        say("*** NOT TESTED: several gateways: redis-server is not on this machine ***")
    if not nginx or not redis:
        return
    port = free_port()
    start("redis", [redis, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(directory)])
    http, ws, secret = free_port(), free_port(), secrets.token_hex(32)
    roots = directory / "shared"
    roots.mkdir()
    members: dict[str, Gateway] = {}
    for address in ADDRESSES:
        member = gateway(
            f"gateway-{address}",
            http_listen=f"{address}:{http}", ws_listen=f"{address}:{ws}", store_url=f"redis://127.0.0.1:{port}",
            jwt_secret=secret, workspace_roots=str(roots), workspaces_shared="true", slot_lease_seconds="3",
        )
        members[await node(member)] = member
    await behind_nginx(nginx, members, "say before", "silent")
    for member in members.values():
        stop(member.process)
