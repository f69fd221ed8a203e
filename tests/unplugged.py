"""The way of a bundle from one machine to a plan for another, by the command line, with no route but loopback.

Run in network and mount namespaces of its own, as root (tests/unit/test_unplugged.py makes them). Prints JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.ssh_servers import make_keys, run, serving

SERVER = "127.0.0.1:2290"
INVENTORY = """\
_ssh = {{"ssh_hostname": "127.0.0.1", "ssh_port": 2290, "ssh_user": "root", "ssh_key": "{folder}/id",
        "ssh_known_hosts_file": "{folder}/known_hosts", "ssh_strict_host_key_checking": "yes"}}
control_plane = [("cp1", {{**_ssh, "address": "192.0.2.1"}})]
all = (control_plane, {{"cluster": {{"name": "unplugged", "claim": "none"}}}})
"""
COMMAND = [sys.executable, "-c", "import sys; from strongroom.cli.main import main; sys.argv[0] = 'strongroom'; main()"]


def reachable() -> str:
    """What becomes of a connection to the outside; 192.0.2.0/24 is nobody's (RFC 5737)."""
    try:
        socket.create_connection(("192.0.2.7", 443), timeout=5).close()
    except OSError as error:
        return error.strerror or str(error)
    return "reached"


def strongroom(*words: str) -> dict[str, object]:
    """A command's end."""
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def main(folder: Path) -> None:
    """Serve ``folder/bundle``; fetch, verify and plan from another folder."""
    run("ip", "link", "set", "lo", "up")
    # The host's side is this machine: what reading leaves there (a lock) stays in here.
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    os.environ.update(XDG_CACHE_HOME=str(folder / "cache"), XDG_STATE_HOME=str(folder / "state"))
    found: dict[str, object] = {"routes": run("ip", "route"), "outside": reachable()}
    make_keys(folder, [f"[127.0.0.1]:{SERVER.rpartition(':')[2]}"])
    (folder / "inventory.py").write_text(INVENTORY.format(folder=folder))
    command = [*COMMAND, "bundle", "serve", str(folder / "bundle"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        server.stdout.readline()
        words = server.stdout.readline().split()[1:]
        found["fetch"] = strongroom(*words, "--out", str(folder / "fetched"))
        server.terminate()
    shutil.rmtree(folder / "bundle")  # the other machine has only what it fetched
    found["verify"] = strongroom("bundle", "verify", str(folder / "fetched"))
    chosen = ["--phase", "runtime", "--skip-phase", "preflight", "--output", "json"]
    with serving(folder, [SERVER]):
        found["plan"] = strongroom("plan", str(folder / "inventory.py"), "--bundle", str(folder / "fetched"), *chosen)
    run("mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", "/opt")
    with serving(folder, [SERVER]):
        found["noexec"] = strongroom("plan", str(folder / "inventory.py"), "--bundle", str(folder / "fetched"), *chosen)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
