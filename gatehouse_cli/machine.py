"""Is this a machine Gatehouse runs on? Every refusal names what was found and what is needed. Standard library only."""

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

from gatehouse_cli.say import Refusal

PYTHONS = ((3, 11), (3, 12), (3, 13))
OLDEST_GLIBC = (2, 28)


def check_platform(system: str | None = None, machine: str | None = None, libc: str | None = None) -> None:
    """Refuse anything but glibc Linux on x86_64. The arguments stand in for what the machine says."""
    system, machine = system or platform.system(), machine or platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise Refusal(f"Gatehouse runs on Linux x86_64; this is {system} {machine}. Use such a machine, or a virtual one.")
    if libc is None:
        try:
            libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
        except (ValueError, OSError):
            libc = ""
    name, _, version = libc.partition(" ")
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if name != "glibc" or parts < OLDEST_GLIBC:
        found = libc or "another C library (musl?)"
        raise Refusal(f"Gatehouse needs glibc 2.28 or newer (Debian 10, RHEL 8, Ubuntu 20.04); this system has {found}.")


def check_python(version: tuple[int, int] | None = None) -> None:
    """Refuse a Python outside 3.11 to 3.13, or one without venv and ensurepip."""
    found = version or sys.version_info[:2]
    if found not in PYTHONS:
        raise Refusal(
            f"Gatehouse needs Python 3.11, 3.12 or 3.13; this is {found[0]}.{found[1]} ({sys.executable}). "
            "Install one of them, or name it: GATEHOUSE_PYTHON=/path/to/python3.12 ./gatehouse ..."
        )
    missing = [name for name in ("venv", "ensurepip", "ssl", "ctypes") if importlib.util.find_spec(name) is None]
    if missing:
        raise Refusal(
            f"{sys.executable} lacks {' and '.join(missing)}. On Debian or Ubuntu: apt-get install "
            f"python{found[0]}.{found[1]}-venv. Or name another Python: GATEHOUSE_PYTHON=/path/to/python3.12 ./gatehouse ..."
        )


def existing_parent(path: Path) -> Path:
    """The nearest folder above `path` (or itself) that exists."""
    while not path.exists():
        path = path.parent
    return path


def check_space(path: Path, needed_mb: int, what: str) -> None:
    """Refuse when the file system that holds `path` has less than `needed_mb` free."""
    folder = existing_parent(path)
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    if free_mb < needed_mb:
        raise Refusal(
            f"{what} needs {needed_mb:,} MB free in {folder}; there are {free_mb:,} MB. Free some space there"
            + ("." if "environment" in what else ", or keep the data elsewhere with --data DIR.")
        )


def check_writable(path: Path, what: str) -> None:
    """Refuse when this user may not write in `path` (or, if it does not exist, where it would be made)."""
    folder = existing_parent(path)
    if not folder.is_dir():
        raise Refusal(f"{what}: {folder} is not a folder. Remove it or choose another place with --data DIR.")
    if not os.access(folder, os.W_OK | os.X_OK):
        owner = folder.stat().st_uid
        mine = owner == os.getuid()
        remedy = "Allow it (chmod u+rwx) unless it is mounted read-only" if mine else "Start as that user, or change the owner (chown -R)"
        raise Refusal(
            f"{what}: this user (uid {os.getuid()}) may not write in {folder} ({'its own' if mine else f'owner uid {owner}'}). "
            f"{remedy}, or choose another place"
            + (" with --data DIR." if "data" in what else " for the checkout.")
        )
    if "data" in what and path.exists() and path.stat().st_uid != os.getuid():
        raise Refusal(
            f"{what}: {path} belongs to uid {path.stat().st_uid}, this is uid {os.getuid()}. Start as that user, or use another folder."
        )
