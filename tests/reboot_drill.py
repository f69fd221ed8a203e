"""Reboots a real SSH server's host by the engine's own connection and lock; prints JSON.

A process of its own, because pyinfra's greenlets patch sockets for all that follows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# First, for it patches sockets.
import strongroom.cli.main  # noqa: F401
from strongroom.engine import inventory as inventories
from strongroom.engine.session import connect
from strongroom.plan.reboot import BOOT_ID
from strongroom.plan.resource import Step


def main(file: Path, order: str) -> None:
    """The drill. ``order`` is the script that takes the host down."""
    pyinfra_inventory, ours = inventories.load(file)
    with connect(pyinfra_inventory, ours) as session:
        (remote,) = session.remotes.values()
        before = remote.run(BOOT_ID, doing="looking")
        session.reboots.perform(remote, Step("reboot", "reboot (drill)", order, reboot="any"))
        after = remote.run(BOOT_ID, doing="looking")
        held = remote.run("flock -n /run/strongroom.operator true && echo free || echo held", doing="looking")
        owner = remote.run("cat /run/strongroom.operator", doing="looking")
        print(json.dumps({"before": before, "after": after, "held": held, "owner": owner}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
