#!/usr/bin/env python3
"""Reads a composed configuration (JSON or YAML) and writes it with every service on the host's network.

The test's services then reach the stand-in of Claude's API on this machine's loopback, and no engine needs a bridge.
"""
import json
import sys

text = sys.stdin.read()
try:
    config = json.loads(text)
except ValueError:
    import yaml

    config = yaml.safe_load(text)
for service in config["services"].values():
    service.pop("ports", None)
    service.pop("networks", None)
    service["network_mode"] = "host"
config.pop("networks", None)
json.dump(config, sys.stdout, indent=1)
