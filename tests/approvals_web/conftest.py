"""A use case with gates at each step, and browsers that are signed in."""

from tests.approvals.conftest import (  # noqa: F401
    at_stage,
    business,
    engineer,
    owner,
    pilot_gate,
    poc_gate,
    policies,
    risk,
    security,
    sign,
    usecase,
    version,
)
from tests.dashboard.conftest import page_of  # noqa: F401
