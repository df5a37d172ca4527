"""nginx-several.conf in front of three gateways that share a Redis, found by a name service that says who is there."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import socket
import struct
import subprocess
import threading

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


async def stopped(members: dict[str, Gateway], door: Door, names: NameService) -> None:
    """One gateway is told to go while it has a socket: the client is told, and comes back to another one."""
    client = await door.socket()
    node = (await call(client, "server.info"))["node"]
    session, _ = await text_until_end(client, "say before")
    # What runs keeps the drain going for as long as the grace lasts.
    await call(client, "session.start", prompt="silent")
    leaving = members.pop(node)
    leaving.process.terminate()
    logins = set()
    while leaving.process.poll() is None:
        logins.add(door.log_in())
        other = await door.socket()
        logins.add("gone" if (await call(other, "server.info"))["node"] == node else "elsewhere")
        await other.close()
    names.addresses.remove(leaving.http.split(":")[0])
    check("several: while one drains, logins and new sockets find another", logins == {200, "elsewhere"}, logins)
    try:
        while True:
            await client.recv()
    except ConnectionClosed as closed:
        check("several: its sockets are told to come back", closed.rcvd is not None and closed.rcvd.code == 1012, closed)
    client = await door.socket()
    kept = await call(client, "session.events", session_id=session)
    check("several: its sessions are there on another", '"session.ended"' in str(kept).replace("'", '"'), kept)
    await client.close()


async def killed(members: dict[str, Gateway], door: Door) -> None:
    """One gateway dies while the name service still tells of it."""
    node, dying = members.popitem()
    dying.process.kill()
    dying.process.wait()
    door.log_in()
    found = await nodes(door, 6)
    check("several: a dead one is passed over", found == set(members), (found, node))


async def main() -> None:
    nginx, redis = program("nginx"), shutil.which("redis-server")
    if not nginx or not redis or not new_enough(nginx):
        say("*** NOT TESTED: several gateways: redis-server or an nginx from 1.27.3 on is not on this machine ***")
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
        direct = Door(member.http, member.ws)
        direct.log_in()
        members[(await nodes(direct, 1)).pop()] = member
    names = NameService(list(ADDRESSES))
    names.start()
    outer = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    servers = adapted("nginx-several.conf", {
        "resolver 127.0.0.11 valid=5s": f"resolver 127.0.0.1:{names.port} valid=1s",
        "gateway:8000": f"gateway:{http}",
        "gateway:8003": f"gateway:{ws}",
        "listen 8001": f"listen {outer[0]}",
        "listen 8003": f"listen {outer[1]}",
    })
    process = start("nginx-several", [nginx, *nginx_arguments(servers)])
    door = Door(*outer)
    await eventually("nginx serves", door.answers)
    check("several: /metrics stays inside", door.request("/metrics")[0] == 404)
    check("several: a login", door.log_in() == 200)
    found = await nodes(door, 6)
    check("several: sockets are spread over all gateways", found == set(members), (found, set(members)))
    await stopped(members, door, names)
    await killed(members, door)
    stop(process)
    for member in members.values():
        stop(member.process)
