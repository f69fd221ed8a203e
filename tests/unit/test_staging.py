"""Folders that are made whole or not at all, by one process at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import StrongroomError
from strongroom.fetch import staging


def test_a_folder_that_another_process_removes_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open
    removed: list[str] = []

    def late(path: Any, *how: Any) -> int:
        if not removed:
            removed.append(path)
            Path(path).rmdir()
        return opened(path, *how)

    def make(folder: Path) -> None:
        (folder / "a").write_text("whole")

    monkeypatch.setattr(os, "open", late)
    found = staging.appear(tmp_path / "folder", make)
    assert removed
    assert (found / "a").read_text() == "whole"


def test_a_link_that_somebody_laid_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs" / "folder").mkdir(parents=True)
    (tmp_path / ".making-b").symlink_to("theirs")
    with pytest.raises(StrongroomError, match=r"\.making-b: cannot be written: Not a directory"):
        staging.appear(tmp_path / "b", lambda folder: None)
    assert (tmp_path / "theirs" / "folder").is_dir()
