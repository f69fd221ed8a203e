"""Preflight as JUnit XML: a suite a host, a case a check, for the dashboards that CI systems have."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from strongroom.checks.verdict import CheckVerdict
from strongroom.report.document import CheckEntry, HostEntry, PreflightDocument


def junit(document: PreflightDocument) -> str:
    """The XML text. What nobody has to look at is skipped with its reason; a waived failure too; unknown is an error."""
    root = ET.Element("testsuites", name="strongroom preflight")
    for host in document.hosts:
        suite = ET.SubElement(root, "testsuite", name=host.name, timestamp=document.judged.isoformat())
        if host.unreachable:
            case = ET.SubElement(suite, "testcase", classname=host.name, name="connection")
            ET.SubElement(case, "error", message=host.unreachable)
        for check in host.checks:
            _case(suite, host, check)
        counted = {kind: len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "error", "skipped")}
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(counted["failure"]))
        suite.set("errors", str(counted["error"]))
        suite.set("skipped", str(counted["skipped"]))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, host: HostEntry, check: CheckEntry) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"{host.name}.{check.platform}", name=f"{check.id} {check.title}")
    text = f"seen: {check.seen}\nwanted: {check.wanted}\n{check.remedy}".strip()
    if check.verdict is CheckVerdict.FAIL and check.waived:
        ET.SubElement(case, "skipped", message=f"waived: {check.waived}; {check.seen}")
    elif check.verdict is CheckVerdict.SKIP:
        ET.SubElement(case, "skipped", message=check.seen)
    elif not host.matters(check):
        if check.verdict is not CheckVerdict.PASS and check.verdict is not CheckVerdict.INFO:
            ET.SubElement(case, "skipped", message=f"no {check.platform} on this host: {check.seen}")
    elif check.verdict is CheckVerdict.FAIL:
        ET.SubElement(case, "failure", message=check.seen, type="fail").text = text
    elif check.verdict is CheckVerdict.UNKNOWN:
        ET.SubElement(case, "error", message=check.seen, type="unknown").text = text
    else:
        ET.SubElement(case, "system-out").text = f"warn: {text}"
