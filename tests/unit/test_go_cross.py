"""A bundle for the other architecture: what has to be there, and what is built for which machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from strongroom import paths
from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import bundle, contents, go_cross, go_modules, go_recipe, go_toolchain, nft
from strongroom.fetch.go_toolchain import Toolchain, machine_arch
from strongroom.fetch.tarball import Member
from strongroom.model.bundle import Arch
from tests.unit.test_go_modules import LOCK, PROGRAMS, fake

__all__ = ["fake"]  # a fixture

OTHER: Arch = "arm64" if machine_arch() == "amd64" else "amd64"
TRIPLET = go_cross.TRIPLETS[OTHER]
TREE = os.environ.get("STRONGROOM_SYSROOT", "")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What has to be in a sysroot, by name."""
    root = tmp_path / "tree"
    for name in (f"usr/lib/{TRIPLET}/libc.a", f"usr/lib/{TRIPLET}/libseccomp.a", "usr/sbin/nft"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Stand-ins on the PATH, by name with _ for -."""
    folder.mkdir(exist_ok=True)
    for name, script in {"gcc": "echo gcc 1", "readelf": "", "pkg-config": "", **scripts}.items():
        path = folder / (name if name == "pkg-config" else f"{TRIPLET}-{name}")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


class TestRefusals:
    """One line, and what to install."""

    def test_without_a_sysroot(self, fake: Path) -> None:
        with pytest.raises(
            ConfigError, match=f"--arch {OTHER}: this machine is another one, and --sysroot is missing"
        ) as caught:
            go_modules.build_from_go_modules(arch=OTHER)
        assert f"mmdebstrap --variant=extract --arch={OTHER}" in (caught.value.hint or "")
        assert "gcc-" in (caught.value.hint or "")
        assert not fake.exists(), "no compiler was asked for anything"

    def test_without_a_compiler(self, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(StrongroomError, match=f"{TRIPLET}-gcc: not on the PATH; runc is built with cgo") as caught:
            go_cross.checked(OTHER, tree)
        assert "apt-get install gcc-" in (caught.value.hint or "")

    @pytest.mark.parametrize("name", [f"usr/lib/{TRIPLET}/libseccomp.a", f"usr/lib/{TRIPLET}/libc.a", "usr/sbin/nft"])
    def test_a_tree_without_something(
        self, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        programs(tmp_path / "bin", monkeypatch)
        (tree / name).unlink()
        with pytest.raises(ConfigError, match=f"--sysroot: {tree / name} is not there; is this a tree of {OTHER}"):
            go_cross.checked(OTHER, tree)

    def test_a_path_with_a_blank(self, tree: Path) -> None:
        with pytest.raises(ConfigError, match="has a blank or a quote"):
            go_cross.checked(OTHER, tree.rename(tree.with_name("my tree")))

    def test_a_library_that_is_not_in_the_tree(
        self, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        programs(tmp_path / "bin", monkeypatch, readelf="echo ' 0x1 (NEEDED) Shared library: [libgmp.so.10]'")
        with pytest.raises(StrongroomError, match=r"nft: its library libgmp\.so\.10 is not found below"):
            go_cross.nft_closure(OTHER, tree)

    def test_a_link_that_leads_to_this_machine(
        self, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        programs(tmp_path / "bin", monkeypatch)
        (tree / "usr/sbin/nft").unlink()
        (tree / "usr/sbin/nft").symlink_to("/bin/sh")
        with pytest.raises(StrongroomError, match=r"leads to .*, which is no file of that tree"):
            go_cross.nft_closure(OTHER, tree)


def test_the_closure_follows_libraries_of_libraries(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
for last; do :; done
case $last in
    */nft) echo '      [Requesting program interpreter: /lib/ld-x.so.1]'
        echo ' 0x0000000000000001 (NEEDED)             Shared library: [libone.so.1]';;
    */libone.so.1.2) echo ' 0x0000000000000001 (NEEDED)             Shared library: [libtwo.so]';;
    */libtwo.so) echo ' 0x0000000000000001 (NEEDED)             Shared library: [libone.so.1]';;
esac
"""
    programs(tmp_path / "bin", monkeypatch, readelf=script)
    for name in ("lib/ld-x.so.1", f"usr/lib/{TRIPLET}/libone.so.1.2", f"lib/{TRIPLET}/libtwo.so"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    (tree / f"usr/lib/{TRIPLET}/libone.so.1").symlink_to("libone.so.1.2")
    found = go_cross.nft_closure(OTHER, tree)
    assert [member.name for member in found.members] == [
        f"lib/{TRIPLET}/libtwo.so", "lib/ld-x.so.1", f"usr/lib/{TRIPLET}/libone.so.1", "usr/sbin/nft",
    ]  # fmt: skip
    assert "SHA-256" in found.version or found.version[0].isdigit()


def test_what_runs_here_is_built_for_here_and_all_else_for_the_other(
    fake: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path / "bin", monkeypatch)
    go = tmp_path / "tools" / "go"
    go.write_text(go.read_text().replace('echo "$@" >>', 'echo "$GOARCH $CC $@" >>'))
    closure = nft.Closure((Member("usr/sbin/nft", 0o755, path=tree / "usr/sbin/nft"),), "1.0")
    monkeypatch.setattr(go_cross, "nft_closure", lambda arch, sysroot: closure)
    made = bundle.verify(go_modules.build_from_go_modules(arch=OTHER, sysroot=tree)).manifest
    assert made.arch == OTHER
    assert {artifact.arch for artifact in made.artifacts} == {OTHER}
    built = [line.split() for line in fake.read_text().splitlines() if " build " in line]
    ours = [words[-1] for words in built if words[0] == machine_arch()]
    theirs = [words for words in built if words[0] == OTHER]
    assert sorted(name.rpartition("/")[2] for name in ours) == ["helm", "kubeadm"]
    assert len(theirs) == PROGRAMS - 1  # all but helm
    assert all(words[1:3] == [f"{TRIPLET}-gcc", f"--sysroot={tree}"] for words in theirs)
    native = go_recipe.recipe().digest
    assert native != made.digest
    assert go_recipe.recipe(arch=machine_arch()).digest == native


@pytest.mark.net
@pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")
class TestRealGo:
    """The real toolchain."""

    def compile(self, go: Toolchain, module: str, package: str, out: Path) -> str | None:
        recipe = LOCK.module(module)
        arguments = ["build", "-ldflags", " ".join(("-s", "-w", *recipe.ldflags)), "-tags", ",".join(recipe.tags)]
        go.run([*arguments, "-o", str(out), package], paths.catalog("go", module), cgo=recipe.cgo)
        with out.open("rb") as file:
            return contents.machine(file.read(64))

    def test_a_program_without_c_is_for_the_other_architecture(self, tmp_path: Path) -> None:
        found = go_toolchain.toolchain(LOCK, paths.catalog("go", "shim"))
        go = Toolchain(found.version, OTHER)
        assert self.compile(go, "shim", "strongroom.dev/bundle/shim/pause", tmp_path / "pause") == OTHER

    @pytest.mark.skipif(not TREE, reason="STRONGROOM_SYSROOT names no tree of the other architecture")
    def test_runc_is_for_the_other_architecture_and_needs_nothing_there(self, tmp_path: Path) -> None:
        root = go_cross.checked(OTHER, Path(TREE))
        go = Toolchain(LOCK.go, OTHER, c=go_cross.environment(OTHER, root))
        out = tmp_path / "runc"
        assert self.compile(go, "runc", "github.com/opencontainers/runc", out) == OTHER
        said = subprocess.run([f"{TRIPLET}-readelf", "-ld", out], capture_output=True, text=True, check=True).stdout
        assert "NEEDED" not in said
        assert "interpreter" not in said
        assert any("libc.so.6" in member.name for member in go_cross.nft_closure(OTHER, root).members)
