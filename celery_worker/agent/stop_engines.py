"""End every engine of this host: `python -m celery_worker.agent.stop_engines`, with the agent stopped.

Engines outlive their agent on purpose; whoever takes the whole host down calls this. Their deployments stay wanted:
the next agent reports them as failed, and control orders them anew.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from celery_worker.agent.engines import make_engines
from celery_worker.agent.state import AlreadyRunning, Store


def main() -> int:
    """Stop all engines in `GATEHOUSE_AGENT_STATE`. Exit status 1 if an agent still works there."""
    folder = os.environ.get("GATEHOUSE_AGENT_STATE", "")
    if not folder or not Path(folder).is_dir():
        return 0
    store = Store(Path(folder).absolute())
    try:
        store.claim(patience_s=15.0)
    except AlreadyRunning as error:
        print(error, file=sys.stderr)
        return 1
    engines = make_engines(store.root, {"kserve": Path(sys.executable)})
    for state in store.all():
        if state.engine is not None and state.engine.kind in engines:
            engines[state.engine.kind].stop(state.engine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
