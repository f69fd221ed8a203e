"""Hands the kubeconfig out to the user's own file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.errors import StrongroomError
from strongroom.kube.access import admin_kubeconfig
from strongroom.paths import state_dir, written
from strongroom.phases.base import Context
from strongroom.plan.resource import Step
from strongroom.report.progress import Progress

if TYPE_CHECKING:
    from strongroom.engine.session import Session


def place(context: Context) -> Path:
    """Where the inventory wants it, else below strongroom's state."""
    cluster = context.inventory.cluster
    return written(cluster.kubeconfig) if cluster.kubeconfig else state_dir() / "clusters" / cluster.name / "kubeconfig"


class KubeconfigPhase:
    """Writes the admin kubeconfig, readable by its owner alone, and never over an existing file."""

    name = "kubeconfig"
    title = "Hand out the kubeconfig"

    def run(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        path = place(context)
        text = admin_kubeconfig(session)
        if path.exists() and text is not None:
            if path.read_text(encoding="utf-8") != text:
                raise StrongroomError(
                    f"{path}: is another cluster's kubeconfig and stays as it is",
                    hint="move it away, or set kubeconfig in the inventory's cluster to another file",
                )
            return []
        if path.exists():
            return []
        step = Step(f"kubeconfig {path}", f"write {path}", "")
        if hands and text is not None:
            progress.say(step.sentence)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_new(path, text)
        return [step]

    def undo(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        """Remove the file only where it is to the byte what this cluster gives out."""
        path = place(context)
        text = admin_kubeconfig(session)
        if text is None or not path.is_file():
            return []
        if path.read_text(encoding="utf-8", errors="replace") != text:
            progress.say(f"{path}: is not this cluster's, or was changed since, and stays as it is")
            return []
        step = Step(f"kubeconfig {path}", f"remove {path}", "")
        if hands:
            progress.say(step.sentence)
            path.unlink()
        return [step]


def _write_new(path: Path, text: str) -> None:
    """Write a file that must not be there: whole or not at all, and for its owner alone from the first byte on."""
    new = path.with_name(f".{path.name}.strongroom-new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(new, path)  # unlike a rename, it never replaces what is there
    except FileExistsError as error:
        raise StrongroomError(f"{path}: appeared meanwhile and stays as it is", hint="apply again") from error
    finally:
        new.unlink()
