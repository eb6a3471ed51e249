"""Run a program that refuses to run as root (PostgreSQL) without root's uid.

    python -m gatehouse_cli.asuser OWNER_OF program [arguments]

An ordinary user: the program is simply executed. Root: the owner of the file OWNER_OF decides.

- owned by another user: become that user. The data folder's parents are closed (0700), so the process keeps one
  capability, CAP_DAC_READ_SEARCH (or CAP_DAC_OVERRIDE where a container withholds the first), which lets it walk
  through them; nothing has to be opened to other users.
- owned by root: a user namespace in which root is called by another number (containers where root may not change uid).
"""

import ctypes
import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path

_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CLONE_NEWUSER = 0x10000000
_CAP_VERSION_3 = 0x20080522


class CannotChangeUser(RuntimeError):
    """Neither another uid nor a user namespace can be had here."""


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapData(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def other_user() -> pwd.struct_passwd:
    """The account that owns a private PostgreSQL when root starts it: `postgres` where the system has one, else `nobody`."""
    for name in ("postgres", "nobody", "daemon"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return entry
    raise CannotChangeUser("/etc/passwd has neither nobody nor daemon. Start Gatehouse as an ordinary user instead of root.")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise CannotChangeUser(f"{what}: {os.strerror(number)}")


def _held_capability() -> int | None:
    """The capability to keep: the narrower of the two that this root holds, or None."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapPrm:"):
            held = int(line.split()[1], 16)
            for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
                if held & (1 << capability):
                    return capability
    return None


def _become(uid: int, gid: int) -> None:
    """Drop to uid/gid for good, keeping one capability through exec."""
    libc = _libc()
    keep = _held_capability()
    if keep is None:
        raise CannotChangeUser("root without CAP_DAC_READ_SEARCH and CAP_DAC_OVERRIDE")
    _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    mask = 1 << keep
    data = (_CapData * 2)(_CapData(mask, mask, mask), _CapData(0, 0, 0))
    _check(libc.capset(ctypes.byref(_CapHeader(_CAP_VERSION_3, 0)), data), "set capabilities")
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, keep, 0, 0), "raise the ambient capability")


def _enter_namespace(uid: int, gid: int) -> None:
    """A user namespace in which this process's root is `uid`."""
    _check(_libc().unshare(_CLONE_NEWUSER), "make a user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} 0 1")
    Path("/proc/self/gid_map").write_text(f"{gid} 0 1")


def _works(how: str) -> bool:
    """Try a way in a child process that then ends."""
    user = other_user()
    pid = os.fork()
    if pid == 0:
        try:
            (_become if how == "uid" else _enter_namespace)(user.pw_uid, user.pw_gid)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a probe in a forked child must never return
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def adopt_folder(folder: Path) -> None:
    """Give a new, empty folder the owner under which root will run the program. No effect for an ordinary user."""
    if os.getuid() != 0:
        return
    if _works("uid"):
        user = other_user()
        os.chown(folder, user.pw_uid, user.pw_gid)
    elif not _works("namespace"):
        raise CannotChangeUser(
            "PostgreSQL refuses to run as root, and this root may neither change its uid nor make a user namespace. "
            "Start Gatehouse as an ordinary user, or name a database with DATABASE_URL."
        )


def execute(owner_of: Path, command: Sequence[str]) -> None:
    """Replace this process by `command`, running as explained above."""
    if os.getuid() == 0:
        owner = owner_of.stat()
        if owner.st_uid != 0:
            _become(owner.st_uid, owner.st_gid)
        else:
            user = other_user()
            _enter_namespace(user.pw_uid, user.pw_gid)
    os.execv(command[0], list(command))  # noqa: S606 - becoming the program is the purpose


def prefix(owner_of: Path) -> list[str]:
    """The words to put before a command so that it runs through this module."""
    return [sys.executable, "-m", "gatehouse_cli.asuser", str(owner_of)]


if __name__ == "__main__":
    try:
        execute(Path(sys.argv[1]), sys.argv[2:])
    except (CannotChangeUser, OSError) as error:
        sys.exit(f"cannot run {sys.argv[2]}: {error}")
