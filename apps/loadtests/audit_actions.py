"""What load tests write in the trail."""

ACTIONS = {
    "loadtests.run.requested": "A load test was asked for",
    "loadtests.run.finished": "A load test ended, with what it measured",
    "loadtests.run.failed": "A load test could not be made",
}
