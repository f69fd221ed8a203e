"""Times preflight of an inventory against a bare command on the same hosts, by the same connector; prints JSON.

A process of its own, because pyinfra's greenlets patch sockets for all that follows.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path

# First, for it patches sockets.
import strongroom.cli.main  # noqa: F401
from strongroom.engine import inventory as inventories
from strongroom.engine.session import connect
from strongroom.phases import preflight


def main(file: Path) -> None:
    """Both, one after the other."""
    gc.freeze()  # as the command line does
    pyinfra_inventory, ours = inventories.load(file)
    started = time.monotonic()
    with connect(pyinfra_inventory, ours, lock=False) as session:
        session.each(ours.hosts, lambda _, remote: remote.run("true", doing="nothing"))
    bare = time.monotonic() - started
    pyinfra_inventory, ours = inventories.load(file)
    started = time.monotonic()
    with connect(pyinfra_inventory, ours, lock=False, later=True) as session:
        examined, unread = preflight.read(session, ours.hosts, preflight.examine(ours, None, set_up=False))
        executions = [remote.executions for remote in session.remotes.values()]
        read = time.monotonic() - started
    outcome = preflight.judge_inventory(ours, examined, unread)
    result = {
        "bare": bare,
        "read": read,
        "preflight": time.monotonic() - started,
        "unread": unread,
        "executions": executions,
        "checks": [len(host.checks) for host in outcome.document.hosts],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
