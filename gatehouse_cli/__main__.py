"""First steps, on whatever Python the launcher found: only the standard library is there.

The client's commands run right here. The others first bring the environments in line with their locks and then go on in
`.venv` (gatehouse_cli.main).
"""

import os
import sys

from gatehouse_cli import environments, machine
from gatehouse_cli.say import Refusal, explain, say

CLIENT = {"usecase", "model", "deploy", "gate", "phase", "waiver", "delegation", "endpoint", "audit", "asof", "whoami", "api"}
# These look, and must work when set-up does not.
WITHOUT_SETUP = {"doctor", "down"}
USAGE = """\
usage: ./gatehouse COMMAND [options]

A portal on this machine
  demo [--check] [--port N] [--data DIR]   start everything, run the sample journey, stay up until Ctrl-C
  up [--port N] [--data DIR] [--detach]    start an empty portal; asks for the first administrator
  down [--data DIR]                        stop the portal that runs in a data folder
  doctor [--mend] [--json] [--data DIR]    what is installed, running, reachable, wrong, and how to mend it
  keys list | rotate [agent] [--overlap HOURS]   the signing keys and their ages; a new order or agent key, signed by the old one
  manage COMMAND ...                       a management command of the portal (./gatehouse manage help)
  test [--all] [pytest arguments]          the suite against real services; --all: the tests marked `long` too
  bench [NAME] [arguments]                 measurements; without a name, lists them

A client of a running portal (GATEHOUSE_URL, GATEHOUSE_TOKEN; JSON on standard output)
  import-mlflow URI [--dry-run]            take an MLflow server's models under governance
  usecase | model | deploy | gate | phase | waiver | delegation | endpoint | audit | asof | whoami | api        each with --help

Services somebody else runs are used when DATABASE_URL, REDIS_URL or GATEHOUSE_MLFLOW_URL name them;
--system-postgres and --system-valkey use the programs this system has installed.
"""


def main(arguments: list[str]) -> int:
    """Dispatch; returns the exit code. 2: refused, with the remedy on standard error."""
    command = arguments[0] if arguments else ""
    if command in {"", "help", "-h", "--help"}:
        print(USAGE, end="")
        return 0 if command else 2
    if command == "import-mlflow":
        from gatehouse_cli import mlflow_import

        return mlflow_import.main(arguments[1:])
    if command in CLIENT:
        from gatehouse_cli import client

        return client.main(arguments)
    try:
        machine.check_platform()
        if command in WITHOUT_SETUP:
            if command == "doctor" and "--mend" in arguments:
                environments.ensure(tests=False, say=say)
        elif command in {"demo", "up", "manage", "keys"}:
            environments.ensure(tests=False, say=say)
        elif command in {"test", "bench"}:
            environments.ensure(tests=True, say=say)
        else:
            raise Refusal(f"there is no command {command!r}; ./gatehouse --help lists them.")
    except Refusal as refusal:
        explain(refusal)
        return 2
    except KeyboardInterrupt:
        explain(RuntimeError("interrupted; what is half-made is made anew at the next start."))
        return 130
    python = environments.PORTAL.python
    if not python.exists():
        from gatehouse_cli import doctor

        return doctor.without_environment(arguments)
    sys.stdout.flush()
    os.execv(python, [str(python), "-m", "gatehouse_cli.main", *arguments])  # noqa: S606 - going on in .venv is the purpose


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
