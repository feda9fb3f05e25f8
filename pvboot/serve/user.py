"""Giving up root's rights."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd

from pvboot.errors import UsageError

DEFAULT_USER = "nobody"
_PR_SET_NO_NEW_PRIVS = 38


def look_up(user: str, group: str) -> tuple[str, int, int]:
    """Return name, uid and gid to become.  Raises `UsageError` for an unknown user and for root."""
    name = user or DEFAULT_USER
    try:
        entry = pwd.getpwnam(name)
        gid = grp.getgrnam(group).gr_gid if group else entry.pw_gid
    except KeyError as err:
        found = f"{name}, {group}" if group else name
        raise UsageError("no such user or group", where="user", found=found) from err
    if entry.pw_uid == 0 or gid == 0:
        raise UsageError("the server does not run as root", where="user", expected="a user without rights", found=name)
    return name, entry.pw_uid, gid


def become(user: str, group: str) -> str:
    """Make root `user` (nobody by default) with that user's groups, for good; others stay who they are.

    Returns who it is now.  Raises `UsageError`.
    """
    if os.geteuid() != 0:
        return str(os.geteuid())
    name, uid, gid = look_up(user, group)
    os.initgroups(name, gid)
    os.setresgid(gid, gid, gid)
    # The last step of root: it also empties all capability sets (capabilities(7)).
    os.setresuid(uid, uid, uid)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    try:
        os.setuid(0)
    except PermissionError:
        return name
    raise UsageError("root's rights could not be given up", where="user", found=name)
