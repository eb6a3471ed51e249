"""Killing whoever comes to a named point of a portal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from celery_worker import faults
from tests.journeys.portals import RunningPortal, until


def fault_file(folder: Path) -> Path:
    """Where a copy's processes look for the point at which to die."""
    return folder.with_name(f"{folder.name}.fault")


@dataclass
class Fault:
    """Kill whoever comes to a named point of this portal next."""

    portal: RunningPortal

    @property
    def path(self) -> Path:
        """The file that names the point."""
        return fault_file(self.portal.stack.data.root)

    def arm(self, point: str, about: str = "") -> None:
        """The next process at `point` (about this very thing) dies."""
        assert point in faults.POINTS
        draft = self.path.with_suffix(".new")
        draft.write_text(f"{point} {about}".strip())
        draft.replace(self.path)

    @property
    def struck(self) -> bool:
        """Has a process died there?"""
        return not self.path.exists()

    def wait(self) -> None:
        """Until it has struck."""
        until("a process to die at its point", lambda: self.struck)

    def strike(self, point: str, about: str = "") -> None:
        """Arm, and wait until it has struck."""
        self.arm(point, about)
        self.wait()
