"""The road from Go modules: pins, a reproducible environment, the cache. A fake `go` compiles at once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from strongroom import paths
from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import bundle, chart, go_chart, go_modules, go_recipe, go_toolchain, lockfile, nft
from strongroom.fetch.go_toolchain import Toolchain, environment
from strongroom.fetch.tarball import Member
from strongroom.model import manifest
from strongroom.model.lock import GoLock
from tests.unit.test_chart import IMAGES as CILIUM_IMAGES
from tests.unit.test_chart import fake_helm, objects

LOCK = lockfile.load_go()
IMAGES = [c.image.reference for c in LOCK.components if c.image and c.component != "verify-pod"]

FAKE_GO = """#!/bin/sh
echo "$@" >> "$FAKE_LOG"
if [ "$1" = env ]; then echo "${{FAKE_VERSION:-{version}}}"; exit; fi
if [ "$1" = mod ]; then
  echo '{{"Dir": "{module}", "Sum": "'${{FAKE_SUM:-$(sed -n 's,^[^ ]* v[^/ ]* ,,p' go.sum)}}'"}}'; exit
fi
while [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done
case $1 in
  */$FAKE_BROKEN) echo "# $1" >&2; echo "x.go:1: undefined: y" >&2; exit 1;;
  */helm) cp {tools}/helm "$out";;
  */kubeadm) printf '#!/bin/sh\\nprintf "%%s\\\\n" {images}\\n' > "$out";;
  *) echo "binary of $1" > "$out";;
esac
chmod 755 "$out"
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `go` that compiles nothing, and an `nft` and a C compiler that aren't looked for. Returns the log of `go`."""
    tools = tmp_path / "tools"
    tools.mkdir()
    module = tmp_path / "module"
    (module / "install/kubernetes/cilium").mkdir(parents=True)
    (module / "install/kubernetes/cilium/Chart.yaml").touch()
    fake_helm(tools, objects(*CILIUM_IMAGES))
    (tools / "go").write_text(FAKE_GO.format(version=LOCK.go, images=" ".join(IMAGES), module=module, tools=tools))
    (tools / "go").chmod(0o755)
    (tools / "nft").write_bytes(b"nft")
    log = tmp_path / "log"
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_LOG", str(log))
    monkeypatch.setenv("FAKE_BROKEN", "none")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    closure = nft.Closure((Member("usr/sbin/nft", 0o755, path=tools / "nft"),), "1.0")
    monkeypatch.setattr(nft, "closure", lambda: closure)
    monkeypatch.setattr(go_recipe, "c_compiler", lambda: "gcc 1")
    return log


#: How many programs a build compiles: those of the components, and one helm for each chart.
PROGRAMS = sum(len(component.binaries) + bool(component.chart) for component in LOCK.components)


def compiled(log: Path) -> list[str]:
    return [line.split()[-1] for line in log.read_text().splitlines() if line.startswith("build ")]


class TestBuild:
    """`build_from_go_modules`."""

    def test_every_component_is_there_and_verifies(self, fake: Path) -> None:
        made = bundle.verify(go_modules.build_from_go_modules())
        assert [a.component for a in made.manifest.artifacts] == [c.component for c in LOCK.components]
        assert made.manifest.origin == "go-modules"
        assert made.folder.name == made.manifest.digest.removeprefix("sha256:")
        kata = made.manifest.of("kata")
        assert kata.stand_in
        assert kata.strip == 2
        assert kata.files[0].path == "bin/containerd-shim-kata-v2"
        assert "qemu-coco-dev/configuration-qemu-coco-dev.toml" in kata.files[1].path
        assert made.manifest.of("cni-plugins").files[0].path == "bin/bridge"
        assert "nftables 1.0" in made.manifest.of("kube-proxy").source
        assert {a.image for a in made.manifest.images()} >= set(IMAGES)

    def test_it_is_built_once(self, fake: Path, tmp_path: Path) -> None:
        first = go_modules.build_from_go_modules()
        count = len(compiled(fake))
        assert count == PROGRAMS
        assert go_modules.build_from_go_modules() == first
        assert len(compiled(fake)) == count
        assert bundle.verify(go_modules.build_from_go_modules(tmp_path / "out")).folder == tmp_path / "out"
        assert len(compiled(fake)) == count
        with pytest.raises(StrongroomError, match="there already"):
            go_modules.build_from_go_modules(tmp_path / "out")

    def test_two_builds_are_byte_identical(self, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = go_modules.build_from_go_modules()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache2"))
        second = go_modules.build_from_go_modules()
        assert second != first
        assert (second / "bundle.json").read_bytes() == (first / "bundle.json").read_bytes()

    def test_a_damaged_bundle_in_the_cache_is_built_again(self, fake: Path) -> None:
        made = go_modules.build_from_go_modules()
        next((made / "artifacts").glob("runc-*")).unlink()
        assert bundle.verify(go_modules.build_from_go_modules()).folder == made

    def test_two_at_once_build_once(self, fake: Path) -> None:
        with ThreadPoolExecutor(3) as pool:
            made = set(pool.map(lambda _: go_modules.build_from_go_modules(), range(3)))
        assert len(made) == 1
        assert len(compiled(fake)) == PROGRAMS
        assert [path.name for path in (paths.cache_dir() / "bundles").iterdir()] == [made.pop().name]

    def test_what_a_killed_build_left_is_cleared(self, fake: Path) -> None:
        bundles = paths.cache_dir() / "bundles"
        left = bundles / f".making-{go_recipe.recipe().digest.removeprefix('sha256:')}" / "folder" / "artifacts"
        left.mkdir(parents=True)
        (left / "half").touch()
        made = go_modules.build_from_go_modules()
        bundle.verify(made)
        assert [path.name for path in bundles.iterdir()] == [made.name]

    def test_a_failed_build_leaves_no_bundle(self, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FAKE_BROKEN", "kubelet")
        with pytest.raises(StrongroomError, match=r"go build in kubernetes: x\.go:1: undefined: y"):
            go_modules.build_from_go_modules()
        assert list((paths.cache_dir() / "bundles").iterdir()) == []

    def test_an_image_that_kubeadm_asks_for_and_nobody_makes(self, fake: Path, tmp_path: Path) -> None:
        go = tmp_path / "tools" / "go"
        go.write_text(go.read_text().replace("etcd:3.6.8-0", "etcd:3.6.9-0"))
        with pytest.raises(StrongroomError, match=r"asks for the image strongroom\.dev/lab/etcd:3\.6\.9-0"):
            go_modules.build_from_go_modules()

    def test_a_chart_is_rendered_for_the_bundles_kubernetes(self, fake: Path, tmp_path: Path) -> None:
        made = bundle.verify(go_modules.build_from_go_modules())
        cilium = made.manifest.of("cilium")
        assert (cilium.kind, cilium.files, cilium.image) == ("manifest", (), None)
        assert made.path(cilium).read_text() == objects(*CILIUM_IMAGES)
        told = (tmp_path / "tools" / "helm.arguments").read_text()
        assert f"--kube-version {made.manifest.of('kube-apiserver').version} " in told
        assert "mod download -json github.com/cilium/cilium@v1.19.6" in fake.read_text().splitlines()
        assert sorted(path.name for path in made.folder.glob("artifacts/*cilium*")) == [cilium.file]

    def test_another_zip_than_the_pinned_one_is_refused(self, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FAKE_SUM", "h1:else")
        with pytest.raises(
            StrongroomError, match=r"v1\.19\.6: its sum is h1:else, and cilium/go\.sum doesn't pin that"
        ):
            go_modules.build_from_go_modules()

    def test_a_module_without_the_chart_is_refused(self, fake: Path, tmp_path: Path) -> None:
        (tmp_path / "module/install/kubernetes/cilium/Chart.yaml").unlink()
        with pytest.raises(StrongroomError, match="has no chart at install/kubernetes/cilium"):
            go_modules.build_from_go_modules()


class TestRecipe:
    """What decides the digest, and what is refused before anything is compiled."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return Path(shutil.copytree(paths.catalog("go"), tmp_path / "go"))

    def test_a_changed_source_changes_the_digest(self, fake: Path, root: Path) -> None:
        before = go_recipe.recipe(root=root).digest
        assert go_recipe.recipe(root=root).digest == before == go_recipe.recipe().digest
        (root / "shim/pause/main.go").write_text("package main\n")
        assert go_recipe.recipe(root=root).digest != before

    def test_changed_values_of_a_chart_change_the_digest(
        self, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = go_recipe.recipe().digest
        mine = tmp_path / "cilium.yaml"
        mine.write_text("ipam: {mode: cluster-pool}\n")
        monkeypatch.setattr(chart, "values", lambda component: mine)
        assert go_recipe.recipe().digest != before

    @pytest.mark.parametrize("name", ["go.mod", "go.sum"])
    def test_a_changed_pin_is_refused(self, fake: Path, root: Path, name: str) -> None:
        path = root / "runc" / name
        path.write_text(path.read_text() + "\n")
        with pytest.raises(
            StrongroomError, match=f"runc/{name}: its SHA-256 is [0-9a-f]{{64}}, and go-modules.lock pins"
        ):
            go_recipe.recipe(root=root)
        path.unlink()
        with pytest.raises(StrongroomError, match="No such file"):
            go_recipe.recipe(root=root)

    def test_another_toolchain_is_refused(self, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FAKE_VERSION", "go1.20.14")
        with pytest.raises(StrongroomError, match=f"its version is go1.20.14, and the lock wants {LOCK.go}"):
            go_recipe.recipe()

    def test_missing_tools_are_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(StrongroomError, match="go: not on the PATH"):
            go_toolchain.toolchain(LOCK, tmp_path)
        with pytest.raises(StrongroomError, match="gcc: not on the PATH"):
            go_recipe.c_compiler()
        monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
        with pytest.raises(StrongroomError) as caught:
            nft.closure()
        assert "nft: not on this machine" in str(caught.value)
        assert caught.value.hint == "apt-get install nftables"

    def test_a_bad_lock_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "go-modules.lock"
        path.write_text(lockfile.go_modules_path().read_text().replace("module: runc", "module: crun"))
        with pytest.raises(ConfigError, match="runc: module 'crun' is not among modules"):
            lockfile.load_go(path)


class TestEnvironment:
    """What of the operator's settings reaches a build."""

    def test_sources_and_caches_are_the_operators(self) -> None:
        mine = {"GOPROXY": "https://proxy.example", "GOCACHE": "/c", "HTTPS_PROXY": "http://p", "PATH": "/bin"}
        assert mine.items() <= environment(LOCK.go, "amd64", mine).items()

    def test_nothing_else_of_go_is(self) -> None:
        theirs = {"GOFLAGS": "-mod=mod", "GOAMD64": "v4", "GOEXPERIMENT": "x", "CGO_CFLAGS": "-O3", "CC": "clang"}
        theirs |= {"GOTOOLCHAIN": "local", "GODEBUG": "x=1", "GOWORK": "/w", "CGO_LDFLAGS_ALLOW": ".*", "GOROOT": "/r"}
        assert environment(LOCK.go, "arm64", theirs) == environment(LOCK.go, "arm64", {})

    def test_it_is_pinned(self) -> None:
        env = environment(LOCK.go, "amd64", {})
        assert env["GOTOOLCHAIN"] == LOCK.go
        assert {"-mod=readonly", "-trimpath", "-buildvcs=false"} <= set(env["GOFLAGS"].split())


class TestLock:
    """go-modules.lock against the modules it pins."""

    def test_versions_are_those_of_the_modules(self) -> None:
        for component in LOCK.components:
            if component.module == "shim":
                continue
            text = paths.catalog("go", component.module, "go.mod").read_text()
            assert f" v{component.version} " in text, component.component
            for flag in LOCK.module(component.module).ldflags:
                stamped = re.search(r"ersion=v?(.*)|Commit=v(.*)", flag)
                assert not stamped or component.version in stamped[0], flag

    def test_every_package_is_a_tool_of_its_module_or_ours(self) -> None:
        for component in LOCK.components:
            text = paths.catalog("go", component.module, "go.mod").read_text()
            for binary in component.binaries:
                ours = binary.package.removeprefix("strongroom.dev/bundle/")
                assert f"{binary.package}\n" in text or paths.catalog("go", ours, "main.go").exists()

    def test_every_module_is_used_and_pinned_as_it_is(self) -> None:
        assert {module.name for module in LOCK.modules} == {name for c in LOCK.components for name in c.modules}
        assert {path.name for path in paths.catalog("go").iterdir()} == {module.name for module in LOCK.modules}
        for module in LOCK.modules:
            go_recipe.check_pins(module, paths.catalog("go"))

    def test_a_chart_has_a_pinned_module_and_a_helm(self) -> None:
        for component in (c for c in LOCK.components if c.chart):
            assert component.chart is not None
            pins = paths.catalog("go", component.module, "go.sum").read_text()
            assert f"{component.chart.go_module} v{component.version} h1:" in pins
            helm = paths.catalog("go", component.chart.helm_module, "go.mod").read_text()
            assert f"tool {component.chart.helm_package}\n" in helm

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"kind": "archive"}, "chart belongs to the kind manifest"),
            ({"chart": None}, "chart belongs to the kind manifest"),
            ({"binaries": [{"package": "a/b", "path": "c"}]}, "a manifest has no binaries"),
            ({"kind": "archive", "chart": None}, "a archive has some binaries"),
            ({"module": "seal"}, "module 'seal' is not among modules"),
        ],
    )
    def test_a_manifest_is_made_of_a_chart(self, change: dict[str, Any], told: str) -> None:
        content = LOCK.model_dump(mode="json")
        content["components"] = [{**c, **change} if c["component"] == "cilium" else c for c in content["components"]]
        with pytest.raises(ValueError, match=told):
            GoLock.model_validate(content)

    def test_it_round_trips(self) -> None:
        assert GoLock.model_validate_json(LOCK.model_dump_json()) == LOCK


@pytest.mark.net
@pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")
class TestRealGo:
    """The real toolchain and our own module."""

    @pytest.fixture
    def go(self) -> Toolchain:
        return go_toolchain.toolchain(LOCK, paths.catalog("go", "shim"))

    def test_the_shims_own_tests_pass(self, go: Toolchain) -> None:
        go.run(["vet", "./..."], paths.catalog("go", "shim"))
        assert "FAIL" not in go.run(["test", "./..."], paths.catalog("go", "shim"))

    def test_a_build_is_reproducible_elsewhere(self, go: Toolchain, tmp_path: Path) -> None:
        copied = Path(shutil.copytree(paths.catalog("go", "shim"), tmp_path / "elsewhere"))
        for out, cwd in (("1", paths.catalog("go", "shim")), ("2", copied)):
            go.run(["build", "-a", "-ldflags", "-s -w", "-o", str(tmp_path / out), "./pause"], cwd)
        assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()

    def test_ciliums_chart_gives_the_same_objects_each_time(self, go: Toolchain, tmp_path: Path) -> None:
        component = next(c for c in LOCK.components if c.chart)
        (tmp_path / "artifacts").mkdir()
        wanted = go_recipe.recipe()
        made = []
        for turn in ("1", "2"):
            (tmp_path / turn).mkdir()
            artifact = go_chart.build(wanted, component, tmp_path / turn, tmp_path)
            path = tmp_path / "artifacts" / artifact.file
            assert manifest.images(manifest.parse(path.read_text(), artifact.file)) == CILIUM_IMAGES
            made.append(path.read_bytes())
            path.unlink()
        assert made[0] == made[1]

    def test_the_pod_says_which_kernel_it_sees(self, go: Toolchain, tmp_path: Path) -> None:
        go.run(["build", "-o", str(tmp_path / "pod"), "./pod"], paths.catalog("go", "shim"))
        with subprocess.Popen([tmp_path / "pod"], stdout=subprocess.PIPE, text=True) as pod:
            assert pod.stdout is not None
            assert os.uname().release in pod.stdout.readline()
            pod.terminate()
            assert pod.wait(10) == 0
