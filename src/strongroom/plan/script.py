"""The two scripts that go to a host: one that observes all resources of a phase, one that carries out a step.

Both run under one lock on the host. A step whose controller died keeps the lock until it ends, so the next observation
waits for it and then sees what it left, never what it is still doing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from strongroom.plan.resource import Observed, Resource, Step, quote

STATE = "/var/lib/strongroom"
LOCK = "/run/strongroom.lock"
_MARK = "#strongroom:"

LIBRARY = r"""
set -eu
umask 022
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
S=/var/lib/strongroom
fail() { printf '%s\n' "$1" >&2; exit 1; }
# images: what containerd lists for Kubernetes, asked once a script; fails where it doesn't answer
images() {
    f=/run/strongroom-images.$$
    [ -e "$f" ] || { ctr --connect-timeout 5s -n k8s.io images ls > "$f" && echo complete >> "$f"; }
    [ "$(tail -n 1 "$f")" = complete ] && sed '1d;$d' "$f"
}
# put PATH MODE OWNER < content: whole or not at all, also across a power cut
put() {
    mkdir -p "$(dirname "$1")"
    t="$(dirname "$1")/.$(basename "$1").strongroom-new"
    cat > "$t" && chmod "$2" "$t" && chown "$3" "$t" && sync "$t" && mv -f "$t" "$1" && sync "$(dirname "$1")"
}
# rewrite PATH < content: as put, of a file of somebody else's: its links stay, and its mode, owner and attributes
rewrite() {
    p=$(realpath -m "$1"); t="$(dirname "$p")/.$(basename "$p").strongroom-new"; mkdir -p "$(dirname "$p")"
    rm -f "$t"; { [ ! -e "$p" ] || cp -a "$p" "$t"; } && cat > "$t" && sync "$t" && mv -f "$t" "$p" && sync "$(dirname "$p")"
}
# fetched SHA256: the upload is whole, or the step ends here; it may have come packed
fetched() {
    if [ -e "$S/incoming/$1.zst" ]; then
        zstd -q -d -f --rm -o "$S/incoming/$1" "$S/incoming/$1.zst" || rm -f "$S/incoming/$1" "$S/incoming/$1.zst"
    fi
    printf '%s  %s\n' "$1" "$S/incoming/$1" | sha256sum -c --status || {
        rm -f "$S/incoming/$1"; fail "upload $1 arrived damaged; run apply again"; }
}
"""


def token(key: str) -> str:
    """A file name for a resource's key."""
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def observe(resources: Sequence[Resource]) -> str:
    """The script that prints, for each resource in turn, a marker line and then whatever its reader finds."""
    parts = [
        LIBRARY.replace("set -eu", "set -u"),
        f"exec 9>{LOCK}; flock -w 1800 9 || fail 'another step has held this host for half an hour'",
        "trap 'rm -f /run/strongroom-images.$$' EXIT",
        f"ls {STATE}/journal 2>/dev/null",
    ]
    for number, resource in enumerate(resources):
        parts.append(f"printf '\\n{_MARK}%s\\n' {number}\n( {resource.read()}\n) 2>/dev/null 9>&-")
    parts.append(f"printf '\\n{_MARK}end\\n'")
    return "\n".join(parts)


def parse_observation(resources: Sequence[Resource], lines: Sequence[str]) -> dict[str, Observed]:
    """Key -> what was seen, from the lines that :func:`observe` printed.

    Raises:
        ValueError: the output is cut short or its markers are not in order.
    """
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.startswith(_MARK):
            expected = str(len(blocks) - 1) if len(blocks) <= len(resources) else "end"
            if line != _MARK + expected:
                raise ValueError(f"observation out of order: {line!r}, wanted {_MARK + expected!r}")
            blocks.append([])
        elif line:
            blocks[-1].append(line)
    if len(blocks) != len(resources) + 2:
        raise ValueError(f"observation cut short: {len(blocks) - 1} of {len(resources) + 1} markers")
    journal = set(blocks[0])
    return {
        resource.key: Observed(tuple(block), interrupted=token(resource.key) in journal)
        for resource, block in zip(resources, blocks[1:-1], strict=True)
    }


def carry_out(steps: Sequence[Step], given: str | None = None) -> str:
    """The script that carries out steps in order, each journalled where it is not atomic.

    ``given`` becomes ``$INPUT`` (a join credential): it travels on stdin with the script, never in an argument.
    """
    parts = [LIBRARY, f"exec 9>{LOCK}; flock -w 1800 9 || fail 'another step has held this host for half an hour'"]
    if given is not None:
        parts.append(f"INPUT={quote(given)}")
    if incoming := [upload.incoming for step in steps for upload in step.uploads]:
        # Also where a step fails: what cannot be unpacked on a full disk must not stay there as an upload either.
        parts.append(f"trap 'rm -f {' '.join(f'{one} {one}.zst' for one in incoming)}' EXIT")
    for step in steps:
        body = "\n".join([*(f"fetched {upload.sha256}" for upload in step.uploads), step.script])
        # Not `( … ) || …`: the shell switches -e off inside a list. Nothing but the step itself may keep the lock.
        block = f"(\n{body}\n) 9>&-"
        if step.journal:
            name = token(step.resource)
            block = (
                f"mkdir -p $S/journal; printf '%s\\n' {quote(step.resource)} > $S/journal/{name}\n"
                f"sync $S/journal/{name} $S/journal\n{block}\nsync; rm -f $S/journal/{name}; sync $S/journal"
            )
        parts.append(block)
    return "\n".join(parts) + "\n"
