"""What is kept on a host of a boot loader's file before our first edit of it, and what we put in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from strongroom.plan.boot_loaders import KEPT, Facts, bytes_of
from strongroom.plan.files import decoded

NOTE = f"{KEPT}/note.json"


def digest(text: str | None) -> str:
    return "" if text is None else hashlib.sha256(bytes_of(text)).hexdigest()


@dataclass(frozen=True)
class Note:
    """What we know of our edits. ``base`` is the line that counted where there was no file."""

    ours: tuple[str, ...] = ()
    absent: bool = False
    only_ours: bool = True
    written: tuple[str, ...] = ()
    base: str = ""
    theirs: dict[str, list[str]] | None = None
    """grubby only: kernel -> words of ours that its owner had there before."""

    @classmethod
    def of(cls, facts: Facts) -> Note | None:
        """From the host."""
        text = facts.text("note")
        if text is None:
            return None
        fields = json.loads(text)
        return cls(**{**fields, "ours": tuple(fields["ours"]), "written": tuple(fields["written"])})

    def put(self) -> str:
        """The script that writes it."""
        text = json.dumps(asdict(self), indent=1).encode() + b"\n"
        return f"mkdir -p {KEPT}; chmod 0700 {KEPT.rpartition('/')[0]}\n{decoded(text, f'put {NOTE} 0600 root:root')}\n"


FORGET = f"rm -rf {KEPT}; rmdir {KEPT.rpartition('/')[0]} 2>/dev/null || true"
