"""Named points at which a test may kill a process, to show that nothing is lost or done twice. Off unless a test asks.

GATEHOUSE_FAULT_FILE names a file that holds a point, or a point and one thing it is about (`relay.claimed
deployments.send_order`). Whoever reaches it removes the file and dies as by `kill -9`; so it happens once, and the process that
takes over goes on. Without the variable, or without the file, nothing happens.
"""

import os
import signal
from pathlib import Path
from typing import Final

VARIABLE: Final = "GATEHOUSE_FAULT_FILE"
# Point -> where that is; what it may be about.
POINTS: Final = {
    "relay.claimed": "a message is committed and claimed, not sent; its topic",
    "relay.sent": "the broker has the message, the database does not know; its topic",
    "control.report_stored": "an agent's report is committed, the agent not told",
    "agent.engine_spawned": "the engine's process exists, its pid is not noted yet",
    "web.committed": "the change is committed, the answer not sent; method and path",
}


def reach(point: str, *about: str) -> None:
    """Die here if a test asked for this point, or for this point and one of the things it is `about`."""
    name = os.environ.get(VARIABLE)
    if not name:
        return
    try:
        wanted = Path(name).read_text().strip()
        if wanted != point and wanted not in {f"{point} {thing}" for thing in about}:
            return
        # Of several processes here at once, the one that removes the file dies.
        Path(name).unlink()
    except OSError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
