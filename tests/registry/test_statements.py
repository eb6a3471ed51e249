"""How many statements a call of the endpoint takes: each is a way to PostgreSQL and back while the caller waits."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.django_db


@pytest.fixture
def counted(endpoint, ready):
    """counted(method, path, body) -> the statements of a call that has been made before, without those that open and close savepoints."""
    caller = endpoint()
    row = ready(caller)

    def make(method, path, body=None):
        filled = [
            path.replace("NAME", row.model.name),
            {k: row.model.name if v == "NAME" else v for k, v in body.items()} if body else None,
        ]
        if body and "source" in body:
            filled[1] |= {"source": f"mlflow-artifacts:/{row.artifact_root}", "run_id": row.run_id}
        caller.ok(method, *filled)
        with CaptureQueriesContext(connection) as seen:
            caller.ok(method, *filled)
        return [q["sql"] for q in seen.captured_queries if not q["sql"].startswith(("SAVEPOINT", "RELEASE"))]

    return make


@pytest.mark.parametrize(
    ("method", "path", "body", "most"),
    [
        ("GET", "registered-models/get?name=NAME", None, 2),
        ("GET", "registered-models/search?max_results=100", None, 2),
        ("GET", "model-versions/get?name=NAME&version=1", None, 2),
        # Who asks, who may; the event, the order to look and the intent at once; the place, and what follows at once.
        ("POST", "model-versions/create", {"name": "NAME", "source": "its own"}, 11),
        # Who asks, who may, which version; the event and two orders to look at once; the lock and what is there (set again: no change).
        ("POST", "registered-models/alias", {"name": "NAME", "alias": "challenger", "version": "1"}, 8),
        ("POST", "model-versions/set-tag", {"name": "NAME", "version": "1", "key": "seen", "value": "yes"}, 7),
    ],
)
def test_a_call_takes_no_more_statements_than_this(counted, method, path, body, most):
    seen = counted(method, path, body)
    assert len(seen) <= most, "\n".join(seen)
