#!/usr/bin/env python3
"""Runs the examples of docker/proxy as real processes on loopback, in front of real gateways.

Each example is used as it stands, but for ports, names of files and where its certificate comes from. A proxy or a Redis that
this machine does not have is told loudly.

    docker/test/proxies.py PROGRAMS       the directory with cc-gateway and scripted-agent
    PING=20 IDLE=150 docker/test/…        with the gateway's own ping interval, and a silence longer than any proxy's patience
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

import several
from harness import (
    CALLER, CLAIMED, IDLE, NAME, OTHER, PING, Door, Gateway, adapted, call, carry_out, check, directory, eventually, free_port,
    gateway, nginx_arguments, program, say, start, stop, text_until_end,
)


async def through(name: str, door: Door) -> None:
    """What must hold through every proxy."""
    await eventually(f"{name} serves", door.answers)
    check(f"{name}: the first request is answered", door.request("/livez")[0] == 200, door.request("/livez"))
    check(f"{name}: /metrics stays inside", door.request("/metrics")[0] == 404, door.request("/metrics")[0])
    check(f"{name}: a login", door.log_in(X_Forwarded_For=CLAIMED) == 200)
    client = await door.socket(X_Forwarded_For=CLAIMED)
    _, said = await text_until_end(client, "say through the proxy")
    check(f"{name}: a session's events arrive", "through the proxy" in said, said[-500:])
    check(f"{name}: a login has the caller's address, not what it claims", *await last_login(client))
    second = await door.socket(X_Forwarded_For="203.0.113.8")
    third = await refusal(door)
    check(f"{name}: sockets are counted for the caller's address, not for what it claims", third == 429, third)
    other = await door.socket(OTHER)
    check(f"{name}: and not for the proxy's", other.state.name == "OPEN")
    await second.close()
    await other.close()
    await asyncio.sleep(IDLE)
    after = await call(client, "server.info")
    check(f"{name}: a socket lives through {IDLE:g} s of silence, pinged each {PING:g} s", "node" in after, after)
    long = await call(client, "session.start", prompt=f"say {'x' * 300_000}")
    check(f"{name}: a large message passes", "session_id" in long, str(long)[:300])
    await client.close()


async def last_login(client: ClientConnection) -> tuple[bool, object]:
    """Whether the last login came from `CALLER`; the entry."""
    entry = (await call(client, "audit.list", action="login", limit=1))["entries"][0]
    return entry.get("address") == CALLER, entry


async def refusal(door: Door) -> int:
    """The status that one more socket is refused with; 101 if it is not."""
    try:
        await (await door.socket(X_Forwarded_For="203.0.113.9")).close()
    except InvalidStatus as refused:
        return refused.response.status_code
    return 101


async def through_none(gateway: Gateway) -> None:
    """A caller that is no listed proxy keeps its own address, whatever it says."""
    door = Door(gateway.http, gateway.ws)
    check("no proxy: a login", door.log_in(X_Forwarded_For=CLAIMED) == 200)
    client = await door.socket()
    check("no proxy: who is not listed is not believed", *await last_login(client))
    await client.close()


def certificate() -> tuple[Path, Path]:
    """A self-signed one, with its key."""
    pem, key = directory / "cert.pem", directory / "key.pem"
    subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*command, *subject, "-keyout", key, "-out", pem], check=True, capture_output=True)
    return pem, key


async def nginx(path: str, gateway: Gateway) -> None:
    pem, key = certificate()
    address = f"127.0.0.1:{free_port()}"
    servers = adapted("nginx.conf", {
        "listen 443 ssl": f"listen {address} ssl",
        "    listen [::]:443 ssl;\n": "",
        "/etc/ssl/gateway.example.com/fullchain.pem": str(pem),
        "/etc/ssl/gateway.example.com/privkey.pem": str(key),
        "/var/log/nginx/cc-gateway.log": f"{directory}/nginx-access.log",
        "127.0.0.1:8001": gateway.http,
        "127.0.0.1:8003": gateway.ws,
    })
    process = start("nginx", [path, *nginx_arguments("nginx", servers)])
    await through("nginx", Door(address, address, pem))
    stop(process)


async def caddy(path: str, gateway: Gateway) -> None:
    pem, key = certificate()
    port, plain = free_port(), free_port()
    site = adapted("Caddyfile", {
        "gateway.example.com {": f"gateway.example.com:{port} {{\n\tbind 127.0.0.1\n\ttls {pem} {key}",
        "127.0.0.1:8001": gateway.http,
        "127.0.0.1:8003": gateway.ws,
    })
    config = directory / "Caddyfile"
    config.write_text(f"{{\n\tadmin off\n\thttp_port {plain}\n\tauto_https disable_redirects\n}}\n{site}")
    env = os.environ | {"HOME": str(directory), "XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    process = start("caddy", [path, "run", "--adapter", "caddyfile", "--config", str(config)], env)
    await through("Caddy", Door(f"127.0.0.1:{port}", f"127.0.0.1:{port}", pem))
    stop(process)


async def traefik(path: str, gateway: Gateway) -> None:
    pem, key = certificate()
    address = f"127.0.0.1:{free_port()}"
    dynamic, config = directory / "traefik-gateway.yml", directory / "traefik.yml"
    routes = adapted("traefik-gateway.yml", {
        "{ certResolver: letsencrypt }": "{}",
        "127.0.0.1:8001": gateway.http,
        "127.0.0.1:8003": gateway.ws,
    })
    dynamic.write_text(f"{routes}\ntls:\n  certificates:\n    - {{ certFile: {pem}, keyFile: {key} }}\n")
    entry = adapted("traefik.yml", {
        '":443"': f'"{address}"',
        "/etc/traefik/traefik-gateway.yml": str(dynamic),
        "/etc/traefik/acme.json": f"{directory}/acme.json",
    })
    config.write_text(f"{entry}global: {{ checkNewVersion: false, sendAnonymousUsage: false }}\n")
    process = start("traefik", [path, f"--configFile={config}"])
    await through("Traefik", Door(address, address, pem))
    stop(process)


async def main() -> None:
    one = gateway("gateway", max_ws_connections_per_address="2")
    await through_none(one)
    for name, run in {"nginx": nginx, "caddy": caddy, "traefik": traefik}.items():
        if path := program(name):
            await run(path, one)
        else:
            say(f"*** NOT TESTED: {name} is not on this machine ***")
    stop(one.process)
    await several.main()


if __name__ == "__main__":
    carry_out(main)
