"""Every capture is judged as EXPECT.tsv says, check by check."""

from __future__ import annotations

import pytest

from strongroom.catalog.load import checks as catalogue
from strongroom.checks.judge import judge
from strongroom.checks.verdict import State
from strongroom.probe.report import HostReport
from tests.corpus import CAPTURES, WHY_NOT, Row, rows

ROWS = list(rows())
pytestmark = pytest.mark.skipif(not ROWS, reason=WHY_NOT)

# Rows that are wrong, with the reason. None is.
DISPUTED: dict[tuple[str, str], str] = {}


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_capture_is_judged_as_expected(row: Row) -> None:
    judgement = judge(HostReport.of(row.sections()), catalogue())
    verdicts = {result.id: result for result in judgement.checks}
    wrong = []
    for expectation in row.expect:
        name, differs, wanted = (
            expectation.replace("!=", " != ").replace("=", " = ", 1 * ("!=" not in expectation)).split()
        )
        found = verdicts[name]
        if (str(found.verdict) == wanted) != (differs == "=") and (row.path, expectation) not in DISPUTED:
            wrong.append(f"{expectation}: {found.verdict}: {found.seen}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_no_capture_makes_a_platform_ready(row: Row) -> None:
    states = {name: one.state for name, one in judge(HostReport.of(row.sections()), catalogue()).platforms.items()}
    assert State.READY not in states.values(), states


def test_every_capture_has_a_row_and_every_row_a_capture() -> None:
    found = {str(path.relative_to(CAPTURES)) for path in CAPTURES.glob("*/*") if path.is_file()}
    assert found == {row.path for row in ROWS}
