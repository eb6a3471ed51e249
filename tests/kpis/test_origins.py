"""Who measured a figure, in words and shares."""

import pytest

from apps.kpis.rules.origins import Source, shares, told

PORTAL, OTHER = Source("measured", "control", "labelled predictions", 300), Source("measured", "control", "answered requests", 50)
ELENA, OLGA = Source("given", "Elena", "", 50), Source("given", "Olga", "", 100)


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([], ""),
        ([PORTAL, PORTAL], "measured by the portal from 600 labelled predictions"),
        ([ELENA], "recorded by Elena, not measured by the portal (1 row, n = 50)"),
        ([Source("given", "", "", 7)], "recorded by somebody whose name was not kept, not measured by the portal (1 row, n = 7)"),
        ([OLGA, ELENA, ELENA, PORTAL, OTHER, ELENA, ELENA],
         "46% measured by the portal from 300 labelled predictions, 8% measured by the portal from 50 answered requests, "
         "31% recorded by Elena, not measured by the portal (4 rows, n = 200), 15% recorded by Olga, not measured by the portal (1 row, n = 100)"),
    ],
)  # fmt: skip
def test_each_source_has_its_share_and_the_portals_come_first(sources, words):
    assert told(shares(sources)) == words
    assert sum(s.share for s in shares(sources)) == pytest.approx(1 if sources else 0)
