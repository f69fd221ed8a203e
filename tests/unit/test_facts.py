"""The facts that other people's deploys use: plain data, never an exception, and what pyinfra itself prints of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.facts.tee import HostReport, Platforms
from tests.reference import Sections, make
from tests.reference.faults import FAULTS


def printed(sections: Sections) -> list[str]:
    """What the probe prints on such a machine."""
    lines = ["== strongroom-probe 1"]
    for name, body in sections.items():
        if name != "controller":
            lines += ["", f"== {name}", *body]
    return [*lines, "", "== end"]


def test_a_ready_host_is_told_in_one_question() -> None:
    assert Platforms().process(printed(make("snp")))["snp"] == "ready"
    assert Platforms().process(printed(FAULTS["SNP-IOMMU"].change(make("snp"))))["snp"] == "capable"
    assert set(Platforms().process([]).values()) <= {"unknown", "absent"}


def test_every_check_is_there_with_its_remedy() -> None:
    found = HostReport().process(printed(FAULTS["SNP-IOMMU"].change(make("snp"))))
    json.dumps(found)
    (check,) = [check for check in found["checks"] if (check["platform"], check["verdict"]) == ("snp", "fail")]
    assert check["id"] == "SNP-IOMMU"
    assert "SEV-SNP Support" in check["remedy"]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.one_of(st.text(max_size=40), st.sampled_from(["== msr", "== dmesg", "#end", "== end"])), max_size=40)
)
def test_whatever_a_host_prints_is_no_exception(lines: list[str]) -> None:
    json.dumps(HostReport().process(lines))
    assert "ready" not in Platforms().process(lines).values()


@pytest.mark.parametrize("fact", ["HostReport", "Platforms"])
def test_pyinfra_prints_them(fact: str) -> None:
    pyinfra = Path(sys.executable).with_name("pyinfra")
    done = subprocess.run(
        [pyinfra, "-y", "@local", "fact", f"strongroom.facts.tee.{fact}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    found = json.loads(text[text.index("{") : text.rindex("}") + 1])["@local"]
    platforms = found["platforms"] if fact == "HostReport" else found
    assert set(platforms) == {"sev", "snp", "tdx", "sgx", "cca", "se", "gpu", "vtpm"}
