"""What the steps share: the people, the connections, what earlier steps made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo import story
from demo.portal import JourneyError, Portal, check

REPO = Path(__file__).resolve().parents[2]
KSERVE_PYTHON = REPO / ".venv-kserve" / "bin" / "python"


@dataclass
class Context:
    """One run of the journey. `made` keeps what a later step, demo.json or a test needs."""

    data: Path
    stack: dict[str, Any]
    accounts: list[dict[str, str]]
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    made: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.people: dict[str, Portal] = {}
        by_email = {a["email"]: a for a in self.accounts}
        for part, person in story.PEOPLE.items():
            account = by_email[person.email]
            self.people[part] = Portal(self.stack["base_url"], account["token"], person.name)

    def __getitem__(self, name: str) -> Any:
        return self.made[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.made[name] = value

    @property
    def engineer(self) -> Portal:
        """Who writes the use case down, trains and deploys."""
        return self.people["engineer"]

    @property
    def auditor(self) -> Portal:
        """Who may read everything."""
        return self.people["auditor"]

    def account(self, part: str) -> dict[str, str]:
        """Email, password and token of a person of the story."""
        return next(a for a in self.accounts if a["email"] == story.PEOPLE[part].email)

    @property
    def model_name(self) -> str:
        """Each run trains and registers its own model."""
        return str(self.made["model_name"])

    @property
    def rows(self) -> Path:
        """Folder of the dumped windows."""
        return self.data / "demo-data"

    def run_in_kserve(self, module: str, *arguments: str, **variables: str) -> str:
        """Run a demo module in the models' environment; returns its output. Only the variables given and PATH, HOME go along."""
        environment: Mapping[str, str] = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": os.environ.get("HOME", "/tmp"),  # noqa: S108 - only where there is no home at all
            "MPLBACKEND": "Agg",
            "GIT_PYTHON_REFRESH": "quiet",
            **variables,
        }
        done = subprocess.run(
            [str(KSERVE_PYTHON), "-m", module, *arguments],
            cwd=REPO,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if done.returncode:
            raise JourneyError(f"{module} ended with {done.returncode}: {done.stderr[-1500:]}")
        return done.stdout


def load(data: Path, accounts: list[dict[str, str]]) -> Context:
    """The context of a run, from what the launcher wrote about the running portal."""
    path = data / "run" / "stack.json"
    check(path.exists(), f"{path}, which ./gatehouse writes when the portal is up")
    return Context(data=data, stack=json.loads(path.read_text(encoding="utf-8")), accounts=accounts)


def make_accounts() -> list[dict[str, str]]:
    """The story's people with fresh passwords and tokens, through the portal's command line."""
    people = [{"name": p.name, "email": p.email, "role": p.role, "function": p.function} for p in story.PEOPLE.values()]
    done = subprocess.run(
        [sys.executable, "manage.py", "sample_accounts"],
        cwd=REPO,
        input=json.dumps(people),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise JourneyError(f"sample accounts could not be made: {done.stderr[-1500:]}")
    made: list[dict[str, str]] = json.loads(done.stdout.strip().splitlines()[-1])
    return made
