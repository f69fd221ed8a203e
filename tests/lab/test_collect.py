"""`attest collect` over real SSH: a server on loopback that gives no evidence, too much of an answer, or another key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ssh_servers import make_keys, serving
from tests.torture import strongroom

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="not root: the server needs a mount namespace for root's keys"),
    pytest.mark.skipif(shutil.which("dropbear") is None, reason="no dropbear on this machine (dropbear-bin)"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server for h1; nobody answers for h2."""
    found = tmp_path_factory.mktemp("collect")
    make_keys(found, ["[127.7.2.1]:2202", "[127.7.2.2]:2202"])
    with serving(found, ["127.7.2.1:2202"]):
        yield found


def inventory(folder: Path, **changes: str) -> Path:
    data = {
        "ssh_port": 2202,
        "ssh_user": "root",
        "ssh_key": str(folder / "id"),
        "ssh_known_hosts_file": str(folder / "known_hosts"),
        "ssh_strict_host_key_checking": "yes",
        "ssh_look_for_keys": False,
        "ssh_allow_agent": False,
        "platform": "snp",
        **changes,
    }
    hosts = [(f"h{n}", {**data, "ssh_hostname": f"127.7.2.{n}", "address": f"10.77.0.{n}"}) for n in (1, 2)]
    file = folder / "inventory.py"
    file.write_text(
        f"control_plane = {hosts[:1]!r}\nworkers = {hosts[1:]!r}\n"
        "all = (control_plane + workers, {'cluster': {'name': 'rack', 'claim': 'none'}})\n"
    )
    return file


def test_answers_have_an_end(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.ask_drill", inventory(folder), "5000"],
        capture_output=True, text=True, timeout=600, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "small": "what was given",
        "flood": 5001,
        "noise": "said\n",
        "binary": "\xff\0\n",
        "failing": "said\n",
        "never": "h1: the evidence command: no end after 2 s",
        "executions": 6,
        "others": 0,
    }


def test_the_verb(folder: Path, tmp_path: Path) -> None:
    """This machine has no SEV-SNP driver for guests, or gives a report that this test can't foresee."""
    out = tmp_path / "h1.json"
    if Path("/sys/kernel/config/tsm/report").exists():
        pytest.skip("this machine may make evidence")
    words = ("attest", "collect", str(inventory(folder)), "h1", "--out", str(out))
    done = strongroom(*words)
    assert (done.returncode, done.stdout) == (5, "")
    assert "evidence: the host says 'there is no /sys/kernel/config/tsm/report" in done.stderr
    done = strongroom("attest", "collect", words[2], "h9", "--out", str(out))
    assert (done.returncode, "found no host 'h9', it has h1, h2" in done.stderr) == (2, True)
    inventory(folder, ssh_strict_host_key_checking="accept-new")
    done = strongroom(*words)
    assert (done.returncode, "found 'accept-new', allowed is 'yes'" in done.stderr) == (2, True)
    other = tmp_path / "other"
    other.mkdir()
    make_keys(other, ["[127.7.2.1]:2202"])
    inventory(folder, ssh_known_hosts_file=str(other / "known_hosts"))
    done = strongroom(*words)
    assert (done.returncode, "h1: cannot connect" in done.stderr) == (1, True)
    assert not out.exists()
