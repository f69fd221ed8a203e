"""Keys for real SSH servers on loopback (dropbear), whose root logs in by a key of the test's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path


def run(*words: str) -> str:
    """What a command prints; it has to succeed."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def make_keys(folder: Path, servers: Sequence[str]) -> None:
    """Write ``id``, ``host_key``, ``known_hosts`` for servers such as ``[127.7.0.1]:2200``, and root's ``home``."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id"))
    run("dropbearkey", "-t", "ed25519", "-f", str(folder / "host_key"))
    said = run("dropbearkey", "-y", "-f", str(folder / "host_key")).splitlines()
    public = " ".join(next(line for line in said if line.startswith("ssh-ed25519")).split()[:2])
    keys = folder / "home" / ".ssh"
    keys.mkdir(parents=True, mode=0o700)
    shutil.copy(folder / "id.pub", keys / "authorized_keys")
    os.chmod(folder / "home", 0o700)
    (folder / "known_hosts").write_text("".join(f"{server} {public}\n" for server in servers))


def answering(folder: Path, text: str, seconds: float) -> None:
    """From now on servers with the folder's keys run no script: ``true`` they do, anything else they answer with ``text``.

    For that they take ``seconds`` and hardly more of a processor than ``true`` does, which waits as well, for nothing.
    """
    said = text.replace("'", "'\\''")
    (folder / "answer.sh").write_text(
        'IFS= read -r first || [ -n "$first" ]\n'
        '[ "$first" != true ] || exec sleep 0\n'
        f"sleep {seconds:.3f}\n"
        f"printf %s '{said}'\n"
    )
    key = (folder / "id.pub").read_text()
    keys = folder / "home" / ".ssh" / "authorized_keys"
    keys.write_text(f'command="sh {folder}/answer.sh" {key}')


@contextmanager
def serving(folder: Path, servers: Sequence[str]) -> Iterator[None]:
    """Let ``127.7.0.1:2200`` and the like answer, with the keys in the folder.

    Root's keys are looked for in root's home: in a mount namespace of its own that is the folder's, for which the caller
    has to be root.
    """
    with ExitStack() as stack:
        for one in servers:
            script = f'mount --bind "{folder}/home" /root && exec dropbear -F -E -s -P "{folder}/pid" -r "{folder}/host_key" -p {one}'
            server = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", script], stderr=subprocess.DEVNULL, start_new_session=True
            )
            stack.callback(server.wait)
            stack.callback(os.killpg, server.pid, signal.SIGTERM)
        time.sleep(1)
        yield
