"""Fails when a dependency that users build declares a newer Rust than ours.

Usage: cargo metadata --format-version 1 --all-features | python3 .ci/msrv.py 1.88
"""

import json
import sys


def version(text):
    return tuple(int(part) for part in (text.split(".") + ["0", "0"])[:3])


ours = version(sys.argv[1])
metadata = json.load(sys.stdin)
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
packages = {package["id"]: package for package in metadata["packages"]}

seen, waiting = set(), list(metadata["workspace_members"])
while waiting:
    package = waiting.pop()
    if package in seen:
        continue
    seen.add(package)
    for dependency in nodes[package]["deps"]:
        if any(kind["kind"] in (None, "build") for kind in dependency["dep_kinds"]):
            waiting.append(dependency["pkg"])

newer = [
    f"{packages[p]['name']} {packages[p]['version']} needs Rust {packages[p]['rust_version']}"
    for p in seen
    if packages[p]["rust_version"] and version(packages[p]["rust_version"]) > ours
]
print("\n".join(sorted(newer)) or f"{len(seen)} packages, none needs more")
sys.exit(bool(newer))
