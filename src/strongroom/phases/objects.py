"""Kubernetes objects as a phase's work: what differs becomes a step, and with hands is applied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strongroom.errors import StrongroomError
from strongroom.kube.client import Api
from strongroom.model.manifest import key
from strongroom.plan.resource import Step
from strongroom.report.progress import Progress


def converge(cluster: Api | None, objects: Sequence[dict[str, Any]], progress: Progress, hands: bool) -> list[Step]:
    """The steps from what the API server has to the objects, in their order; with hands they are carried out.

    Without hands each object, also one that is absent, was still put to the API server as a dry run.

    Args:
        cluster: None before there is a cluster: then every object is a step.

    Raises:
        StrongroomError: the API server refuses an object; the line names it.
    """
    steps = []
    for item in objects:
        try:
            why = cluster.difference(item) if cluster else "there is no API server yet"
            if why is None:
                continue
            steps.append(Step(key(item), f"apply {key(item)} ({why})", ""))
            if cluster and hands:
                progress.say(steps[-1].sentence)
                cluster.apply(item)
        except StrongroomError as error:
            raise StrongroomError(f"{key(item)}: {error}", hint=error.hint) from error
    return steps
