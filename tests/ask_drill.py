"""Asks a real SSH server for answers of strangers, by the connection of `attest collect`; prints JSON.

A process of its own, because pyinfra's greenlets patch sockets for all that follows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# First, for it patches sockets.
import strongroom.cli.main  # noqa: F401
from strongroom.engine import inventory as inventories
from strongroom.engine.ask import ask
from strongroom.engine.session import connect
from strongroom.errors import StrongroomError

CASES = {
    "small": ("cat", "what was given"),
    "flood": ("cat /dev/zero", ""),
    "noise": ("head -c 100000 /dev/zero >&2; echo said", ""),
    "binary": ("printf '\\377\\000\\n'", ""),
    "failing": ("echo said; exit 3", ""),
    "never": ("sleep 60", ""),
}


def main(file: Path, largest: int) -> None:
    """The drill: what came of each case. ``largest`` is how many bytes an answer may have."""
    pyinfra_inventory, ours = inventories.load(file)
    found: dict[str, str | int] = {}
    with connect(pyinfra_inventory, ours, lock=False, only="h1") as session:
        remote = session.remotes["h1"]
        for name, (command, script) in CASES.items():
            try:
                said = ask(remote, command, script, largest=largest, seconds=60 if name != "never" else 2)
                found[name] = len(said) if name == "flood" else said.decode("latin-1")
            except StrongroomError as error:
                found[name] = str(error)
        found["executions"] = remote.executions
        found["others"] = sum(other.host.connected for other in session.remotes.values()) - 1
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
