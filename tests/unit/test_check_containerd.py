"""HOST-CONTAINERD: what the probe reads of a host's containerd, and the verdict on it."""

from __future__ import annotations

import os
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from strongroom.checks import containerd
from strongroom.checks.verdict import CheckVerdict
from strongroom.probe.report import HostReport

DEBIAN = ("program=/usr/bin/containerd", "version=containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6")


def report(*lines: str) -> HostReport:
    return HostReport.parse(["== containerd", *lines, "#end", "== end"])


@pytest.mark.parametrize(
    ("lines", "verdict", "seen"),
    [
        (DEBIAN, CheckVerdict.PASS, "1.7, /usr/bin/containerd"),
        ((DEBIAN[0], "version=containerd x v2.1.4 abc"), CheckVerdict.PASS, "2.1, /usr/bin/containerd"),
        ((), CheckVerdict.FAIL, "no containerd.service"),
        ((DEBIAN[0], "version=containerd x 1.6.20~ds1"), CheckVerdict.FAIL, "found 1.6, allowed is 1.7 or newer"),
        ((DEBIAN[0], "version="), CheckVerdict.FAIL, "no version in '?'"),
        (("program=/opt/strongroom/containerd/2.3.4/bin/containerd", DEBIAN[1]), CheckVerdict.FAIL, "of a bundle"),
        (
            (
                *DEBIAN,
                "refused=containerd: failed to load TOML: /etc/containerd/config.toml: (2, 1): expecting a value",
            ),
            CheckVerdict.FAIL,
            "it refuses its configuration: containerd: failed to load TOML: /etc/containerd/config.toml: (2, 1)",
        ),
    ],
)
def test_each_host_gets_its_verdict(lines: tuple[str, ...], verdict: CheckVerdict, seen: str) -> None:
    result = containerd.judge(report(*lines))
    assert (result.id, result.verdict) == ("HOST-CONTAINERD", verdict)
    assert seen in result.seen
    assert bool(result.remedy) == (verdict is CheckVerdict.FAIL)


def test_not_probed_is_no_pass() -> None:
    assert containerd.judge(HostReport()).verdict is CheckVerdict.UNKNOWN


def test_the_probe_reads_the_program_of_the_unit_and_not_its_configuration(tmp_path: Path) -> None:
    program = tmp_path / "containerd"
    program.write_text(
        "#!/bin/sh\nif [ $1 = --version ]; then echo containerd x 1.7.24; exit; fi\n"
        "echo 'password = secret'; echo noise >&2; echo 'containerd: it is broken' >&2; exit 1\n"
    )
    (tmp_path / "systemctl").write_text(
        f"#!/bin/sh\necho 'ExecStart={{ path={program} ; argv[]={program} ; ignore_errors=no }}'\n"
    )
    for file in tmp_path.iterdir():
        file.chmod(0o755)
    script = files("strongroom").joinpath("probe", "probe.sh").read_text()
    script = script.replace("[ -d /run/systemd/system ]", "true")  # this machine may run none
    env = {**os.environ, "PROBE_PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, env=env, check=True)
    assert HostReport.parse(done.stdout.splitlines()).containerd == {
        "program": str(program),
        "version": "containerd x 1.7.24",
        "refused": "containerd: it is broken",
    }
    assert "password" not in done.stdout
