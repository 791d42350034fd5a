"""Every construct, against plain DuckDB, with the requests it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cases import CASES

if TYPE_CHECKING:
    from sql_kit import Bench


@pytest.mark.parametrize(("requests", "query"), [case[:2] for case in CASES], ids=[case[1] for case in CASES])
def test_rows_names_and_requests(bench: Bench, requests: int, query: str) -> None:
    assert len(bench.same(query)) == requests
