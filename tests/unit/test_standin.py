"""A second version of the stand-in: another program and a version file, and everything else the default bundle's."""

# ruff: noqa: F811 - the fixture is named twice by its nature: imported, and asked for
from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import bundle, go_modules, standin
from tests.unit.test_go_modules import compiled, fake  # noqa: F401 - a fixture

OTHER = "4.2.0-standin"


def test_only_the_stand_in_differs(fake: Path, tmp_path: Path) -> None:
    default = bundle.verify(go_modules.build_from_go_modules())
    before = (default.folder / "bundle.json").read_bytes()
    count = len(compiled(fake))
    made = bundle.verify(standin.build({"kata": OTHER}))
    assert compiled(fake)[count:] == ["strongroom.dev/bundle/shim/containerd-shim-standin-kata-v2"]
    assert [line for line in fake.read_text().splitlines() if line.startswith("build ")][-1].count(
        f"-buildid=strongroom/{OTHER}"
    ) == 1
    assert (default.folder / "bundle.json").read_bytes() == before
    assert made.manifest.digest != default.manifest.digest
    for one in default.manifest.artifacts:
        if one.component != "kata":
            assert made.manifest.of(one.component) == one
    kata, was = made.manifest.of("kata"), default.manifest.of("kata")
    assert (kata.version, kata.stand_in) == (OTHER, True)
    assert {file.path for file in kata.files} - {file.path for file in was.files} == {"VERSION"}
    assert standin.build({"kata": OTHER}) == made.folder, "it is built once"
    assert bundle.verify(standin.build({"kata": OTHER}, tmp_path / "out")).folder == tmp_path / "out"
    with pytest.raises(StrongroomError, match="there already"):
        standin.build({"kata": OTHER}, tmp_path / "out")


def test_the_default_version_is_the_default_bundle(fake: Path) -> None:
    default = go_modules.build_from_go_modules()
    assert standin.build({}) == standin.build({"kata": bundle.load(default).manifest.of("kata").version}) == default


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({"kata": "4.2.0"}, "found '4.2.0', allowed is a version with -standin behind it"),
        ({"kata": "../x-standin"}, "allowed is a version"),
        ({"containerd": "2.4.0"}, "found 'containerd', allowed with --from go-modules is kata alone"),
    ],
)
def test_what_is_refused(fake: Path, versions: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        standin.build(versions)
    assert not fake.exists(), "before anything is built"
