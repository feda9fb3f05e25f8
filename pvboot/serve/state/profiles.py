"""Profiles: what a client boots, described once and free of any menu dialect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pvboot.serve.state import checks
from pvboot.serve.state.errors import DescriptionError

ENTRY_LIMIT = 32
INITRD_LIMIT = 16
TIMEOUT_LIMIT = 3600  # seconds
_ENTRY_KEYS = ("title", "kernel", "initrd", "args", "modules", "local")
_PROFILE_KEYS = ("title", "entries", "default", "timeout", "fallback")
_SCHEMES = ("http", "https", "tftp")


@dataclass(frozen=True, slots=True)
class Module:
    """A multiboot module: its file and its command line."""

    file: str
    args: str = ""


@dataclass(frozen=True, slots=True)
class ProfileEntry:
    """One choice: a kernel with its files, or (`kernel` is None) the client's own disk.

    Files are absolute paths of this server's content, or whole URLs (http, https, tftp).
    """

    title: str
    kernel: str | None
    initrds: tuple[str, ...] = ()
    args: str = ""
    modules: tuple[Module, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """All files that the entry loads, the kernel first."""
        kernel = () if self.kernel is None else (self.kernel,)
        return (*kernel, *self.initrds, *(module.file for module in self.modules))


@dataclass(frozen=True, slots=True)
class Profile:
    """`default` and `fallback` are indices of `entries`; `timeout` in seconds, None waits for ever, 0 boots at once."""

    name: str
    title: str
    entries: tuple[ProfileEntry, ...]
    default: int = 0
    timeout: int | None = 0
    fallback: tuple[int, ...] = ()


# What a disabled client is given: it boots as if there were no server.
LOCAL = Profile("local", "Local disk", (ProfileEntry("Local disk", None),))


def read_profile(name: str, value: Any, where: str) -> Profile:
    """The profile in a TOML table or a JSON body.

    An only entry may stand in the profile itself (`kernel`, `initrd`, `args`, `modules`, `local`).  `DescriptionError`
    for whatever is wrong.
    """
    checks.name(name, where)
    given = checks.table(value, where, (*_PROFILE_KEYS, *(key for key in _ENTRY_KEYS if key != "title")))
    title = checks.text(given.get("title", name), f"{where}.title", limit=200)
    alone = [key for key in _ENTRY_KEYS if key in given and key != "title"]
    if "entries" in given:
        if alone:
            raise DescriptionError("stands beside entries", where=f"{where}.{alone[0]}")
        entries = checks.several(given["entries"], f"{where}.entries", _read_entry, limit=ENTRY_LIMIT)
    else:
        only = {key: given[key] for key in alone} | {"title": title}
        entries = (_read_entry(only, where),)
    if not entries:
        raise DescriptionError("has no entries", where=f"{where}.entries")
    last = len(entries) - 1
    fallback = checks.several(
        given.get("fallback", []), f"{where}.fallback", lambda one, at: checks.whole(one, at, 0, last), limit=8
    )
    if len(set(fallback)) != len(fallback):
        # GRUB Legacy drops the whole line then.
        raise DescriptionError("names an entry twice", where=f"{where}.fallback")
    default = checks.whole(given.get("default", 0), f"{where}.default", 0, last)
    return Profile(name, title, entries, default, _read_timeout(given, where, len(entries)), fallback)


def _read_timeout(given: Mapping[str, Any], where: str, entries: int) -> int | None:
    """-1 waits for ever.  Without one a single entry is booted at once, and several wait five seconds."""
    timeout = checks.whole(given.get("timeout", 0 if entries == 1 else 5), f"{where}.timeout", -1, TIMEOUT_LIMIT)
    return None if timeout < 0 else timeout


def _read_entry(value: Any, where: str) -> ProfileEntry:
    given = checks.table(value, where, _ENTRY_KEYS)
    title = checks.text(given.get("title"), f"{where}.title", limit=200)
    if checks.yes_or_no(given.get("local", False), f"{where}.local"):
        useless = next((key for key in ("kernel", "initrd", "args", "modules") if given.get(key)), None)
        if useless is not None:
            raise DescriptionError("an entry for the local disk loads nothing", where=f"{where}.{useless}")
        return ProfileEntry(title, None)
    if "kernel" not in given:
        raise DescriptionError("is missing", where=f"{where}.kernel")
    kernel = read_file(given["kernel"], f"{where}.kernel")
    initrd = given.get("initrd", [])
    initrds = checks.several(
        [initrd] if isinstance(initrd, str) else initrd, f"{where}.initrd", read_file, limit=INITRD_LIMIT
    )
    args = checks.text(given.get("args", ""), f"{where}.args", empty=True)
    modules = checks.several(given.get("modules", []), f"{where}.modules", _read_module, limit=INITRD_LIMIT)
    return ProfileEntry(title, kernel, initrds, args, modules)


def _read_module(value: Any, where: str) -> Module:
    given = checks.table(value, where, ("file", "args"))
    if "file" not in given:
        raise DescriptionError("is missing", where=f"{where}.file")
    return Module(
        read_file(given["file"], f"{where}.file"), checks.text(given.get("args", ""), f"{where}.args", empty=True)
    )


def read_file(value: Any, where: str) -> str:
    """A path of the content or a URL."""
    file = checks.text(value, where, limit=1024)
    if file.startswith("/"):
        if any(part in ("", ".", "..") for part in file[1:].split("/")):
            raise DescriptionError("is no clean path", where=where, expected="no empty, . or ..", found=ascii(file))
        return file
    try:
        parts = urlsplit(file)
        host = parts.hostname
    except ValueError as err:
        raise DescriptionError("is no URL", where=where, found=ascii(file[:200])) from err
    if parts.scheme not in _SCHEMES or not host or any(char.isspace() for char in file):
        expected = "/path, http:, https: or tftp:"
        raise DescriptionError("is neither a path nor a URL", where=where, expected=expected, found=ascii(file[:200]))
    return file


def describe(profile: Profile) -> dict[str, Any]:
    """The profile as JSON, in the form that `read_profile` takes."""
    return {
        "title": profile.title,
        "entries": [_describe_entry(entry) for entry in profile.entries],
        "default": profile.default,
        "timeout": -1 if profile.timeout is None else profile.timeout,
        "fallback": list(profile.fallback),
    }


def _describe_entry(entry: ProfileEntry) -> dict[str, Any]:
    if entry.kernel is None:
        return {"title": entry.title, "local": True}
    return {
        "title": entry.title,
        "kernel": entry.kernel,
        "initrd": list(entry.initrds),
        "args": entry.args,
        "modules": [{"file": module.file, "args": module.args} for module in entry.modules],
    }
