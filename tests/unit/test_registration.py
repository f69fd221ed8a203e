"""Our handlers in somebody else's containerd: planned for every version, and carried out in a real shell on a scratch folder."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from strongroom.errors import StrongroomError
from strongroom.model.platform import Platform
from strongroom.model.shims import Shim
from strongroom.plan import containerd
from strongroom.plan.containerd import parse_version
from strongroom.plan.registration import Registration
from strongroom.plan.resource import Observed, Step
from strongroom.plan.script import carry_out, observe, parse_observation, token

SHIM = Shim(
    name="x",
    handler="kata-x",
    runtime_type="io.containerd.kata-x.v2",
    runtime_path="/opt/kata/bin/containerd-shim-kata-v2",
    config_path="/opt/kata/x.toml",
    platform=Platform.NONE,
    overhead_memory="1Mi",
    overhead_cpu="1m",
)
DEBIAN = """\
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
"""
# Stands for the program: its version, and a dump of what it is given, as long as it is TOML of its taste.
CONTAINERD = """\
#!/bin/sh
case "$*" in
    --version) echo "containerd example.org/containerd $VERSION $VERSION-1";;
    "--config "*" config dump") if grep -q refuse-me "$2"; then echo "containerd: cannot stand it" >&2; exit 1; fi
        if grep -q hides "$2"; then echo nothing; else cat "$2"; fi;;
esac
"""


class Host:
    """A scratch host: its folder, and what it was told to do to its services."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.version = "1.7.24~ds1"
        self.resource = Registration("example/pause:1", (SHIM,))
        (root / "bin").mkdir()
        (root / "etc").mkdir()
        self.program("containerd", CONTAINERD)
        self.program("ctr", "#!/bin/sh\n")
        self.program("systemctl", f'#!/bin/sh\necho "$*" >> {root}/systemctl.log\n')

    def program(self, name: str, text: str) -> None:
        (self.root / "bin" / name).write_text(text)
        (self.root / "bin" / name).chmod(0o755)

    @property
    def config(self) -> Path:
        return self.root / "etc" / "config.toml"

    @property
    def drop_in(self) -> Path:
        return self.root / "etc" / "conf.d" / "10-strongroom.toml"

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        for path, here in {
            "/etc/containerd": "etc",
            "/var/lib/strongroom": "state",
            "/run/strongroom.lock": "lock",
        }.items():
            # What is written into a configuration names the real place.
            script = script.replace(f'"{path}', '"@').replace(path, str(self.root / here)).replace('"@', f'"{path}')
        script = script.replace(" PATH=", f" PATH={self.root}/bin:").replace(
            "root:root", f"{os.getuid()}:{os.getgid()}"
        )
        environment = {**os.environ, "VERSION": self.version}
        return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, env=environment, check=False)

    def seen(self) -> Observed:
        done = self.run(observe([self.resource]))
        return parse_observation([self.resource], done.stdout.splitlines())[self.resource.key]

    def steps(self) -> list[Step]:
        return self.resource.steps(self.seen())

    def apply(self) -> list[str]:
        steps = self.steps()
        done = self.run(carry_out(steps))
        assert done.returncode == 0, done.stderr
        assert self.steps() == []
        return [step.sentence for step in steps]

    def destroy(self) -> list[str]:
        steps = self.resource.undo(self.seen())
        done = self.run(carry_out(steps))
        assert done.returncode == 0, done.stderr
        assert self.resource.undo(self.seen()) == []
        assert not (self.root / "state" / "original").exists()
        return [step.sentence for step in steps]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_merged_into_1_7_and_given_back_to_the_byte(host: Host) -> None:
    host.config.write_text(DEBIAN)
    host.config.chmod(0o640)
    (sentence,) = host.apply()
    assert sentence == "merge into /etc/containerd/config.toml: sandbox_image, bin_dir, runc, kata-x"
    document = tomllib.loads(host.config.read_text())["plugins"]["io.containerd.grpc.v1.cri"]
    assert document["containerd"]["runtimes"]["kata-x"] == {
        "runtime_type": SHIM.runtime_type,
        "runtime_path": SHIM.runtime_path,
        "privileged_without_host_devices": True,
        "pod_annotations": ["io.katacontainers.*"],
        "container_annotations": ["io.kubernetes.container.terminationMessage*"],
        "options": {"ConfigPath": SHIM.config_path},
    }
    assert not host.drop_in.exists()
    assert host.config.stat().st_mode & 0o777 == 0o640
    (sentence,) = host.destroy()
    assert sentence == "take our handlers out of /etc/containerd/config.toml, and restart containerd"
    assert host.config.read_text() == DEBIAN
    assert host.config.stat().st_mode & 0o777 == 0o640
    assert "try-restart containerd.service" in (host.root / "systemctl.log").read_text()


def test_where_there_was_no_configuration_there_is_none_again(host: Host) -> None:
    host.apply()
    assert host.config.read_text().startswith("version = 2\n")
    host.destroy()
    assert not host.config.exists()


def test_two_edits_of_ours_are_still_only_ours(host: Host) -> None:
    host.config.write_text(DEBIAN)
    host.apply()
    host.resource = Registration("example/pause:2", (SHIM,))
    assert host.apply() == ["merge into /etc/containerd/config.toml: sandbox_image"]
    host.resource = Registration("example/pause:2", ())
    assert host.apply() == ["merge into /etc/containerd/config.toml: keys no longer wanted"]
    assert "kata-x" not in host.config.read_text(), "a shim that the inventory no longer names is no handler any more"
    host.destroy()
    assert host.config.read_text() == DEBIAN


def test_hand_edits_survive_apply_and_destroy(host: Host) -> None:
    host.config.write_text(DEBIAN)
    host.apply()
    host.config.write_text("# mine\n" + host.config.read_text() + '\n[debug]\nlevel = "info" # mine too\n')
    assert host.steps() == [], "a comment and a key of theirs are no drift of ours"
    host.config.write_text(host.config.read_text().replace("/opt/cni/bin", "/srv"))
    assert host.apply() == ["merge into /etc/containerd/config.toml: bin_dir"]
    host.destroy()
    text = host.config.read_text()
    assert text.startswith("# mine\nversion = 2\n")
    assert '[debug]\nlevel = "info" # mine too\n' in text
    assert tomllib.loads(text) == {**tomllib.loads(DEBIAN), "debug": {"level": "info"}}


def _cut_off_before_the_edit(host: Host, step: Step) -> None:
    cut = Step(step.resource, step.sentence, step.script[: step.script.rindex("mv -f")] + "exit 9")
    assert host.run(carry_out([cut])).returncode == 9


def test_a_step_cut_off_before_the_edit_costs_nothing(host: Host) -> None:
    host.config.write_text(DEBIAN)
    (step,) = host.steps()
    _cut_off_before_the_edit(host, step)
    assert host.config.read_text() == DEBIAN
    host.apply()
    host.destroy()
    assert host.config.read_text() == DEBIAN


def test_an_edit_that_was_never_made_leaves_nothing_to_destroy(host: Host) -> None:
    host.config.write_text(f"{DEBIAN}# refuse-me\n")
    assert host.run(carry_out(host.steps())).returncode == 1
    assert host.destroy() == ["forget the copy of /etc/containerd/config.toml, which is as it was"]
    assert not (host.root / "systemctl.log").exists()
    assert host.config.read_text() == f"{DEBIAN}# refuse-me\n"


def test_an_edit_that_was_cut_off_in_the_middle_of_ours_is_ours(host: Host) -> None:
    host.config.write_text(DEBIAN)
    host.version = "2.1.0"
    host.apply()
    host.version = "1.7.24"
    _cut_off_before_the_edit(host, host.steps()[-1])
    host.apply()
    host.destroy()
    assert host.config.read_text() == DEBIAN


def test_what_its_owner_makes_of_a_file_that_we_could_not_edit_is_theirs(host: Host) -> None:
    host.config.write_text(f"{DEBIAN}# refuse-me\n")
    assert host.run(carry_out(host.steps())).returncode == 1
    mended = DEBIAN.replace('cri"]\n', 'cri"]\n    sandbox_image = "theirs"\n')
    host.config.write_text(mended)
    host.apply()
    assert "example/pause:1" in host.config.read_text()
    host.destroy()
    assert host.config.read_text() == mended


def test_an_undo_cut_off_before_its_restart_is_seen_by_both_ways_on(host: Host) -> None:
    host.config.write_text(DEBIAN)
    host.apply()
    (step,) = host.resource.undo(host.seen())
    cut = Step(step.resource, step.sentence, step.script[: step.script.index("systemctl")] + "exit 9", journal=True)
    assert host.run(carry_out([cut])).returncode == 9
    assert (host.root / "state" / "journal" / token(step.resource)).exists()
    assert "restart" in host.steps()[-1].sentence
    host.destroy()
    assert host.config.read_text() == DEBIAN


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("# refuse-me", "containerd refuses the merged /etc/containerd/config.toml: containerd: cannot stand it"),
        ("# hides", "containerd does not see kata-x in it"),
    ],
)
def test_what_containerd_does_not_take_never_becomes_its_configuration(host: Host, line: str, said: str) -> None:
    host.config.write_text(f"{DEBIAN}{line}\n")
    done = host.run(carry_out(host.steps()))
    assert done.returncode == 1
    assert said in done.stderr.replace(str(host.root / "etc"), "/etc/containerd")
    assert host.config.read_text() == f"{DEBIAN}{line}\n"
    assert list(host.config.parent.iterdir()) == [host.config]


def test_a_file_that_changes_between_plan_and_step_is_left_alone(host: Host) -> None:
    host.config.write_text(DEBIAN)
    steps = host.steps()
    host.config.write_text(DEBIAN + "# just now\n")
    done = host.run(carry_out(steps))
    assert done.returncode == 1
    assert "run it again" in done.stderr
    assert host.config.read_text() == DEBIAN + "# just now\n"


@pytest.mark.parametrize(
    ("version", "config", "imports", "plugin"),
    [
        ("2.1.0", None, ["/etc/containerd/conf.d/*.toml"], "io.containerd.cri.v1.runtime"),
        ("2.1.0", "version = 3\n", ["/etc/containerd/conf.d/*.toml"], "io.containerd.cri.v1.runtime"),
        ("2.3.4", "version = 4\n", ["/etc/containerd/conf.d/*.toml"], "io.containerd.cri.v1.runtime"),
        ("2.1.0", "version = 2\n", ["/etc/containerd/conf.d/*.toml"], "io.containerd.grpc.v1.cri"),
        ("2.1.0", 'imports = ["conf.d/*.toml"]\nversion = 3\n', ["conf.d/*.toml"], "io.containerd.cri.v1.runtime"),
        (
            "2.1.0",
            'imports = ["/etc/containerd/*.toml"]\nversion = 3\n',  # for Go, no * reaches over a slash
            ["/etc/containerd/*.toml", "/etc/containerd/conf.d/*.toml"],
            "io.containerd.cri.v1.runtime",
        ),
        ("2.1.0", "root = '/x'\n", ["/etc/containerd/conf.d/*.toml"], "cri"),
    ],
)
def test_from_2_0_on_a_drop_in_has_the_handlers(
    host: Host, version: str, config: str | None, imports: list[str], plugin: str
) -> None:
    host.version = version
    if config is not None:
        host.config.write_text(config)
    host.apply()
    main, ours = tomllib.loads(host.config.read_text()), tomllib.loads(host.drop_in.read_text())
    assert main["imports"] == imports
    assert "plugins" not in main
    assert "kata-x" in ours["plugins"][plugin]["containerd"]["runtimes"]
    assert ours.get("version", 0) <= main.get("version", 0), "containerd refuses a drop-in with a higher version"
    host.destroy()
    assert not host.drop_in.exists()
    assert (host.config.read_text() if host.config.exists() else None) == config


@pytest.mark.parametrize(
    ("version", "cni", "ours"),
    [
        ("2.1.0", "", None),
        ("2.1.0", 'bin_dir = "/usr/lib/cni"\n', {"bin_dir": "/opt/cni/bin"}),
        ("2.3.4", 'bin_dirs = ["/usr/lib/cni"]\n', {"bin_dirs": ["/opt/cni/bin"]}),
    ],
)
def test_of_two_names_for_the_cni_folder_the_owners_is_used(
    host: Host, version: str, cni: str, ours: dict[str, object] | None
) -> None:
    host.version = version
    host.config.write_text(f'version = 3\n[plugins."io.containerd.cri.v1.runtime".cni]\n{cni}')
    host.apply()
    assert tomllib.loads(host.drop_in.read_text())["plugins"]["io.containerd.cri.v1.runtime"].get("cni") == ours


@pytest.mark.parametrize("version", ["1.7.24", "2.1.0"])
@pytest.mark.parametrize(
    "older", ['mirrors."r.example"]\nendpoint = ["x"]', 'configs."r.example".tls]\ninsecure = true']
)
def test_mirrors_that_the_owner_names_in_the_older_way_are_not_met_with_ours(
    host: Host, version: str, older: str
) -> None:
    host.version, host.resource = version, Registration("example/pause:1", (SHIM,), "/etc/containerd/certs.d")
    table = '[plugins."io.containerd.grpc.v1.cri".registry.'
    host.config.write_text(f"version = 2\n{table}{older}\n")
    with pytest.raises(StrongroomError, match=r"config\.toml: found plugins.*registry\.(mirrors|configs)"):
        host.steps()
    host.config.write_text(f"version = 2\n{table}mirrors]\n{table}configs]\n")  # as "config default" has them
    host.apply()


def test_cri_switched_off_for_docker_is_switched_on_and_off_again(host: Host) -> None:
    before = '#   comments of the package\n\ndisabled_plugins = ["cri"]\n\n#root = "/var/lib/containerd"\n'
    host.config.write_text(before)
    host.apply()
    assert tomllib.loads(host.config.read_text())["disabled_plugins"] == []
    assert "cri" in tomllib.loads(host.config.read_text())["plugins"], "no version means the first"
    host.destroy()
    assert host.config.read_text() == before


def test_links_and_broken_files_are_refused_in_one_line(host: Host) -> None:
    host.config.write_text("a =\n")
    with pytest.raises(StrongroomError, match=r"^/etc/containerd/config.toml:1: not valid TOML"):
        host.steps()
    host.config.unlink()
    host.config.symlink_to("elsewhere")
    with pytest.raises(StrongroomError, match=r"config\.toml: is a symbolic link"):
        host.steps()


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+deb13u1", (1, 7)),
        ("containerd containerd.io 1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da", (1, 7)),
        ("containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7193e4e490e9fbdc236c0e811ccaba3376", (2, 1)),
        ("containerd github.com/containerd/containerd/v2 2.3.4+unknown", (2, 3)),
    ],
)
def test_versions_as_they_are_said(said: str, found: tuple[int, int]) -> None:
    assert parse_version(said) == found


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, "not installed"),
        ("", "not installed"),
        ("containerd github.com/containerd/containerd 1.6.20~ds1", "found 1.6, allowed is 1.7 or newer"),
        ("what!", "no version in 'what!'"),
    ],
)
def test_no_containerd_or_one_too_old_is_refused(said: str | None, words: str) -> None:
    with pytest.raises(StrongroomError, match=f"^containerd: .*{words}"):
        parse_version(said)


def test_the_order_of_versions_is_not_that_of_letters() -> None:
    assert parse_version("containerd x v1.10.0") > containerd.OLDEST
