"""Boot Loader Specification, type #1: what the entries in `loader/entries/` mean.

Two readers share the files and disagree about most of their meaning: systemd-boot (the UAPI group's specification) and
the `blscfg` command of Fedora's GRUB (blscfg.c).  With GRUB's variables at hand the rules are those of `blscfg`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from operator import itemgetter

from fsdrivers import errors as fs_errors
from fsdrivers.light import TYPE_CHECKING, dataclass, replace
from grammars import bls as grammar
from grammars.fields import Field
from grammars.grub_cfg import split_words
from grammars.spans import SourceSpan
from pvboot.errors import MenuError
from pvboot.grub_errors import shorten
from pvboot.menu.grub2_rules import join_arguments
from pvboot.menu.guest_paths import first_existing
from pvboot.menu.model import BootFiles, Entry, MenuWarning
from pvboot.menu.versions import rpm_name_key, uapi_key

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
        try:
            found.append(read(stem, where, data, partial(_locate, devices, device, directory)))
        except MenuError as err:
            warn(MenuWarning(f"{where} is passed over: {err.what}"))
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


def _kernel(fields: tuple[Field, ...]) -> str:
    kernel = _value(fields, "linux")
    if not kernel:
        raise MenuError("it names no Linux kernel")
    return kernel


def _span(fields: tuple[Field, ...], where: str) -> SourceSpan:
    """Where the entry's title stands, else its kernel."""
    named = [field for key in ("title", "linux") for field in fields if field.key == key]
    return named[0].span if named else SourceSpan(where, 1, 1, 0)


# --- blscfg -----------------------------------------------------------------------------------------------


def _read_grub(stem: str, where: str, data: bytes, locate: _Locate, *, variables: Mapping[str, str]) -> BlsEntry:
    fields = grammar.parse_as_grub(data, where)
    # A script line is made of all this, so GRUB's quoting acts on it.
    lines = _values(fields, "options")
    options = expand(lines[0], variables) if lines else variables.get("default_kernelopts", "")
    text = _kernel(fields)
    kernel, *more = split_words(text) or [text]
    args = join_arguments([*more, *split_words(options)])
    initrds = tuple(islice(_grub_initrds(_values(fields, "initrd"), kernel, variables), INITRD_LIMIT))
    return BlsEntry(
        stem,
        _value(fields, "title") or text,
        _value(fields, "version"),
        kernel,
        args,
        initrds,
        _span(fields, where),
        partial(locate, kernel, args, initrds),
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
    """Newest first; of two whose names mean the same version the one that GRUB reads later is dropped."""
    kept: dict[object, BlsEntry] = {}
    for key, entry in sorted(
        ((rpm_name_key(_cut(entry.id)), entry) for entry in found), key=itemgetter(0), reverse=True
    ):
        if key in kept:
            warn(MenuWarning(f"{entry.span.file} is passed over: its name means the same version as {kept[key].id!r}"))
        else:
            kept[key] = entry
    return list(kept.values())


# --- systemd-boot -----------------------------------------------------------------------------------------


def _read_uapi(stem: str, where: str, data: bytes, locate: _Locate) -> BlsEntry:
    fields = grammar.parse(data, where)
    kernel = _kernel(fields)
    architecture = _value(fields, "architecture")
    if architecture.lower() not in _ARCHITECTURES:
        raise MenuError(f"made for {shorten(architecture)!r}")
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
    # Sorts are stable: the least important order comes first.
    found = sorted(found, key=lambda entry: uapi_key(_cut(entry.id)), reverse=True)
    found.sort(key=lambda entry: uapi_key(_cut(entry.version) if entry.sort_key else ""), reverse=True)
    found.sort(key=lambda entry: (not entry.sort_key, entry.sort_key, entry.machine_id if entry.sort_key else ""))
    found.sort(key=lambda entry: entry.tries_left == 0)
    return _with_unique_titles(found)


def _with_unique_titles(found: list[BlsEntry]) -> list[BlsEntry]:
    """Equal titles get the version, then the machine, then the id behind them."""
    details: tuple[Callable[[BlsEntry], str], ...] = (
        lambda entry: entry.version,
        lambda entry: entry.machine_id[:8],
        lambda entry: entry.id,
    )
    found = [replace(entry, title=entry.title or entry.id) for entry in found]
    for detail in details:
        count = Counter(entry.title for entry in found)
        for index, entry in enumerate(found):
            if count[entry.title] > 1 and detail(entry):
                found[index] = replace(entry, title=f"{entry.title} ({detail(entry)})")
    return found


def _cut(text: str) -> str:
    return text[:COMPARED_CHARACTERS]
