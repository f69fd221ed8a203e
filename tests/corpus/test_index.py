"""No row of the index lies there unread: each is taken by its verdict, by its name, or listed with the reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus.index import BESIDE, BY_VERDICT, EVIDENCE, NOT_OPENED, WHY_NOT, Entry, entries

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)
SOURCES = {file.name: file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py")}


def named(row: Entry) -> bool:
    return any(f'"{row.path}"' in text or f'"{Path(row.path).name}"' in text for text in SOURCES.values())


def test_every_row_is_opened_or_listed() -> None:
    rows = {row.path: row for row in entries()}
    by_verdict = {path for path, row in rows.items() if row.verdict.startswith(BY_VERDICT.get(row.kind, ()))}
    by_name = {path for path, row in rows.items() if named(row)}
    assert set(rows) == by_verdict | by_name | set(BESIDE) | set(NOT_OPENED)
    assert not (by_verdict | by_name | set(BESIDE)) & set(NOT_OPENED)
    assert set(BESIDE.values()) <= by_verdict


def test_every_file_is_a_row_and_every_row_a_file() -> None:
    files = {str(file.relative_to(EVIDENCE)) for file in EVIDENCE.rglob("*") if file.is_file()}
    assert files == {"INDEX.tsv", *(row.path for row in entries())}


@pytest.mark.parametrize(("kind", "start"), [(kind, start) for kind in BY_VERDICT for start in BY_VERDICT[kind]])
def test_what_takes_rows_by_their_verdict_takes_some(kind: str, start: str) -> None:
    assert any(row.verdict.startswith(start) for row in entries(kind))
