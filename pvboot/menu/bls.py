"""Boot Loader Specification, type #1: what the entries in `loader/entries/` mean.

Two readers share the files and disagree about most of their meaning: systemd-boot (the UAPI group's specification) and
the `blscfg` command of Fedora's GRUB (blscfg.c).  With GRUB's variables at hand the rules are those of `blscfg`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice

from fsdrivers import errors as fs_errors
from fsdrivers.light import TYPE_CHECKING, dataclass, replace
from grammars import bls as grammar
from grammars.fields import Field
from grammars.grub_cfg import split_words
from grammars.spans import SourceSpan
from pvboot.grub_errors import shorten
from pvboot.menu.grub2_rules import join_arguments
from pvboot.menu.guest_paths import first_existing
from pvboot.menu.model import BootFiles, Entry, MenuWarning
from pvboot.menu.versions import compare_rpm_names, compare_uapi, sort_key

if TYPE_CHECKING:
    from fsdrivers.api import Filesystem
    from pvboot.device_names import Device
    from pvboot.devices import Devices

NAME_LIMIT = 10_000  # names looked at in a directory
FILE_LIMIT = 1000
FILE_LIMIT_BYTES = 64 << 10
INITRD_LIMIT = 64  # files an entry
TOTAL_LIMIT_BYTES = 4 << 20
EXPANSION_LIMIT = 64 << 10  # characters that variables may make of one value
COMPARED_CHARACTERS = 255

_ARCHITECTURES = ("", "x64", "x86-64", "x86_64", "ia32")
_TRIES = re.compile(r"(?P<name>.+)\+(?P<left>[0-9]{1,9})(?:-(?P<done>[0-9]{1,9}))?")
_VARIABLE = re.compile(r"\\\$|\$(?P<name>[A-Za-z0-9_]*) ?")

Warn = Callable[[MenuWarning], object]


@dataclass(frozen=True, slots=True)
class BlsEntry:
    """One entry, its variables replaced and its options made a command line.

    `id` is the file's name without `.conf` and tries; `kernel` and `initrds` are paths on the volume of the entries;
    `files` finds out where they really are.  `users` is what `grub_users` says, `arguments` are the `grub_arg`s.
    """

    id: str
    title: str
    version: str
    kernel: str
    options: str
    initrds: tuple[str, ...]
    span: SourceSpan
    files: Callable[[], BootFiles]
    sort_key: str = ""
    machine_id: str = ""
    tries_left: int | None = None
    users: str = ""
    hotkey: str = ""
    arguments: tuple[str, ...] = ()

    def as_entry(self, index: int, submenu: tuple[str, ...] = ()) -> Entry:
        """The entry of a menu."""
        return Entry(index, self.title, (), self.span, self.id, submenu, files=self.files)


def entries(
    devices: Devices,
    device: Device,
    directory: str,
    *,
    grub_variables: Mapping[str, str] | None = None,
    warn: Warn = lambda _warning: None,
) -> list[BlsEntry]:
    """The entries of a directory in the order in which they are offered.

    With `grub_variables` as `blscfg` reads them: newest file name first, `$name` replaced.  Without as systemd-boot
    does: by sort-key, machine and version, with every options line.  Files and bytes are bounded; what is passed over
    is told to `warn`.  Raises `FsError` or `GrubError` if the directory cannot be read.
    """
    filesystem = devices.mount(device)
    read = _read_uapi if grub_variables is None else partial(_read_grub, variables=grub_variables)
    found: list[BlsEntry] = []
    for stem, where, data in read_files(filesystem, device, directory, warn):
        locate = partial(_locate, devices, device, directory)
        entry = read(stem, where, data, locate, warn)
        if entry is not None:
            found.append(entry)
    return _in_uapi_order(found) if grub_variables is None else _in_grub_order(found, warn)


def read_files(filesystem: Filesystem, device: Device, directory: str, warn: Warn) -> Iterator[tuple[str, str, bytes]]:
    """Name without `.conf`, name for messages and content of every file, within the limits."""
    directory = directory.rstrip("/")
    names = [
        name
        for name in islice(filesystem.names(directory or "/"), NAME_LIMIT)
        if name.endswith(".conf") and len(name) > 5 and not name.startswith(".")
    ]
    if len(names) > FILE_LIMIT:
        warn(MenuWarning(f"{device}{directory}: only {FILE_LIMIT} of {len(names)} entries are read"))
    room = TOTAL_LIMIT_BYTES
    for name in sorted(names)[:FILE_LIMIT]:
        where = f"{device}{directory}/{name}"
        try:
            file = filesystem.open(f"{directory}/{name}")
            data = file.read_at(0, FILE_LIMIT_BYTES)
        except fs_errors.FsError as err:
            warn(MenuWarning(f"{where} is passed over: {err}"))
            continue
        if file.size > FILE_LIMIT_BYTES:
            warn(MenuWarning(f"{where}: only the first {FILE_LIMIT_BYTES} bytes are read"))
        room -= len(data)
        if room < 0:
            warn(MenuWarning(f"{where} and later ones are passed over: more than {TOTAL_LIMIT_BYTES} bytes of entries"))
            return
        yield name[: -len(".conf")], where, data


def _locate(
    devices: Devices, device: Device, directory: str, kernel: str, args: str, initrds: tuple[str, ...]
) -> BootFiles:
    """Paths count from the root of the volume; where `/boot` is a directory of it, some writers count from there."""
    boot = directory.rstrip("/").removesuffix("/loader/entries")

    def place(path: str) -> str:
        if path.startswith("("):
            return path
        path = f"/{path.lstrip('/')}"
        return first_existing(devices, device, [path, f"{boot}{path}"])

    return BootFiles(place(kernel), args, tuple(map(place, initrds)), root=str(device))


_Locate = Callable[[str, str, "tuple[str, ...]"], BootFiles]


def _values(fields: tuple[Field, ...], key: str) -> list[str]:
    return [field.value for field in fields if field.key == key]


def _value(fields: tuple[Field, ...], key: str) -> str:
    return next(iter(_values(fields, key)), "")


# --- blscfg -----------------------------------------------------------------------------------------------


def _read_grub(
    stem: str, where: str, data: bytes, locate: _Locate, warn: Warn, *, variables: Mapping[str, str]
) -> BlsEntry | None:
    fields = grammar.parse_as_grub(data, where)
    kernel = _value(fields, "linux")
    if not kernel:
        warn(MenuWarning(f"{where} is passed over: it names no kernel"))
        return None
    lines = _values(fields, "options")
    # A script line is made of all this, so GRUB's quoting acts on it.
    options = expand(lines[0], variables) if lines else variables.get("default_kernelopts", "")
    words = split_words(kernel) or [kernel]
    initrds = tuple(islice(_grub_initrds(_values(fields, "initrd"), words[0], variables), INITRD_LIMIT))
    args = join_arguments([*words[1:], *split_words(options)])
    return BlsEntry(
        stem,
        _value(fields, "title") or kernel,
        _value(fields, "version"),
        words[0],
        args,
        initrds,
        _span(fields, where),
        partial(locate, words[0], args, initrds),
        users=expand(_value(fields, "grub_users"), variables).strip(),
        hotkey=_value(fields, "grub_hotkey"),
        arguments=tuple(_values(fields, "grub_arg")),
    )


def _grub_initrds(lines: list[str], kernel: str, variables: Mapping[str, str]) -> Iterator[str]:
    """`early_initrd`'s files beside the others in front, then each line's words."""
    words = [word for line in lines for word in split_words(expand(line, variables))]
    folder = (words[0] if words else kernel).rpartition("/")[0]
    for early in variables.get("early_initrd", "").split():
        yield early if early.startswith(("/", "(")) else f"{folder}/{early}"
    yield from words


def expand(value: str, variables: Mapping[str, str]) -> str:
    """Replace `$name` by the variable's value and a blank, unknown ones by nothing; the blank behind the name goes.

    `\\$` is a dollar sign.  No more than `EXPANSION_LIMIT` characters come out.
    """
    made: list[str] = []
    length = at = 0
    for match in _VARIABLE.finditer(value):
        name = match["name"]
        known = variables.get(name) if name is not None else None
        text = "\\$" if name is None else f"{known} " if known is not None else ""
        made += (value[at : match.start()], text)
        at = match.end()
        length += len(made[-1]) + len(made[-2])
        if length > EXPANSION_LIMIT:
            break
    made.append(value[at:])
    return "".join(made)[:EXPANSION_LIMIT]


def _in_grub_order(found: list[BlsEntry], warn: Warn) -> list[BlsEntry]:
    """Newest first; of two whose names compare equal the one that GRUB reads later is dropped."""
    rank = sort_key(compare_rpm_names)
    kept: list[BlsEntry] = []
    for entry in sorted(found, key=lambda entry: rank(entry.id[:COMPARED_CHARACTERS]), reverse=True):
        if kept and not compare_rpm_names(kept[-1].id[:COMPARED_CHARACTERS], entry.id[:COMPARED_CHARACTERS]):
            warn(MenuWarning(f"{entry.span.file} is passed over: its name means the same version as {kept[-1].id!r}"))
        else:
            kept.append(entry)
    return kept


# --- systemd-boot -----------------------------------------------------------------------------------------


def _read_uapi(stem: str, where: str, data: bytes, locate: _Locate, warn: Warn) -> BlsEntry | None:
    fields = grammar.parse(data, where)
    kernel = _value(fields, "linux")
    if not kernel:
        warn(MenuWarning(f"{where} is passed over: it names no Linux kernel"))
        return None
    if _value(fields, "architecture").lower() not in _ARCHITECTURES:
        warn(MenuWarning(f"{where} is passed over: made for {shorten(_value(fields, 'architecture'))!r}"))
        return None
    tries = _TRIES.fullmatch(stem)
    args = " ".join(_values(fields, "options"))
    initrds = tuple(_values(fields, "initrd")[:INITRD_LIMIT])
    return BlsEntry(
        tries["name"] if tries else stem,
        _value(fields, "title"),
        _value(fields, "version"),
        kernel,
        args,
        initrds,
        _span(fields, where),
        partial(locate, kernel, args, initrds),
        sort_key=_value(fields, "sort-key"),
        machine_id=_value(fields, "machine-id"),
        tries_left=int(tries["left"]) if tries else None,
    )


def _in_uapi_order(found: list[BlsEntry]) -> list[BlsEntry]:
    """Used-up tries last; then sort-key, machine and newest version, those without sort-key by newest file name."""
    rank = sort_key(compare_uapi)

    # Sorts are stable: the least important order comes first.
    found = sorted(found, key=lambda entry: rank(entry.id[:COMPARED_CHARACTERS]), reverse=True)
    found.sort(key=lambda entry: rank(entry.version[:COMPARED_CHARACTERS] if entry.sort_key else ""), reverse=True)
    found.sort(
        key=lambda entry: (
            entry.tries_left == 0,
            not entry.sort_key,
            entry.sort_key,
            entry.machine_id if entry.sort_key else "",
        )
    )
    return _with_unique_titles(found)


def _with_unique_titles(found: list[BlsEntry]) -> list[BlsEntry]:
    """Equal titles get the version, then the machine, then the id behind them."""
    found = [replace(entry, title=entry.title or entry.id) for entry in found]
    details: tuple[Callable[[BlsEntry], str], ...] = (
        lambda entry: entry.version,
        lambda entry: entry.machine_id[:8],
        lambda entry: entry.id,
    )
    for detail in details:
        titles = [entry.title for entry in found]
        seen, twice = set[str](), set[str]()
        for title in titles:
            (twice if title in seen else seen).add(title)
        found = [
            replace(entry, title=f"{entry.title} ({detail(entry)})")
            if entry.title in twice and detail(entry)
            else entry
            for entry in found
        ]
    return found


def _span(fields: tuple[Field, ...], where: str) -> SourceSpan:
    """Where the entry's title stands, else its kernel."""
    named = [field for key in ("title", "linux") for field in fields if field.key == key]
    return named[0].span if named else SourceSpan(where, 1, 1, 0)
