"""What preflight knows of a host, as pyinfra facts for anybody's deploys.

``host.get_fact(Platforms)["snp"] == "ready"`` is the short question; ``HostReport`` has every check with its remedy, in
the form of ``hosts[]`` in the published schema (docs/schemas/preflight-v1.json). Both read the host once, by the probe.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyinfra.api.facts import FactBase

from strongroom.catalog.load import checks
from strongroom.checks.judge import judge
from strongroom.probe import report
from strongroom.probe.script import probe_script, probed
from strongroom.report.document import Judged, make


class HostReport(FactBase[dict[str, Any]]):
    """One host as preflight reports it: role, machine, platforms, capacity and checks; plain data, ready for JSON."""

    def command(self) -> str:
        """The probe; read-only, and root or not."""
        return probe_script()

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        """Judge what the probe printed. What it could not read is ``unknown``; nothing here raises on what a host says."""
        found = report.HostReport.of(probed(list(output)))
        catalogue = checks()
        document = make([Judged("", report=found, judgement=judge(found, catalogue))], (), catalogue)
        return document.hosts[0].model_dump(mode="json", exclude={"name", "wanted", "unreachable"})


class Platforms(HostReport):
    """The state of each platform: ``{"snp": "ready", "tdx": "absent", ...}``."""

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        """The states alone."""
        return {name: platform["state"] for name, platform in super().process(output)["platforms"].items()}
