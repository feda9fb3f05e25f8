"""What a configuration of syslinux, extlinux or isolinux means (and of U-Boot, which reads the same files).

Source of the rules: the reader of syslinux' menu (com32/menu/readconfig.c) and its wiki; where a guest may rely on
pygrub's reading and syslinux does not contradict, pygrub's (ExtLinuxConf.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fsdrivers.light import TYPE_CHECKING, dataclass, replace
from grammars.extlinux import parse
from grammars.fields import Field
from grammars.spans import SourceSpan
from pvboot.errors import PvbootError
from pvboot.grub_errors import quoted, shorten
from pvboot.menu.dialects import MenuContext
from pvboot.menu.guest_paths import exists, from_directory
from pvboot.menu.model import BootFiles, Entry, Menu, MenuWarning, Password

if TYPE_CHECKING:
    pass

DIALECT = "extlinux"
INCLUDE_DEPTH = 16
INCLUDE_LIMIT = 64  # files
TOTAL_LIMIT_BYTES = 512 << 10  # of all included files
SUBMENU_DEPTH = 16
ENTRY_LIMIT = 2000
WARNING_LIMIT = 1000
INITRD_LIMIT = 64  # files an entry

_KERNELS = ("kernel", "linux", "com32", "boot", "bss", "pxe", "fdimage", "config")
_NO_LINUX = (".c32", ".com", ".cbt", ".bss", ".bs")  # endings by which KERNEL tells a program from Linux
_MENU_PROGRAMS = ("menu.c32", "vesamenu.c32")
_WITHOUT_MEANING = (
    "allowoptions console display fdt fdtdir fdtoverlays devicetree devicetreedir devicetree-overlay font ipappend "
    "kbdmap localboot nerfdefault nocomplete noescape notabc path pretimeout prompt say send sendcookies serial "
    "sysappend text ui f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 onerror"
)
_GLOBAL = "label append initrd default ui ontimeout timeout totaltimeout implicit include menu"
# Every keyword that means something to somebody.
KEYWORDS = (*_KERNELS, *_WITHOUT_MEANING.split(), *_GLOBAL.split())


@dataclass(slots=True)
class _Submenu:
    """A menu in the menu; its title may follow its beginning."""

    title: str


@dataclass(slots=True)
class _Label:
    """An entry while its lines are read.  `append` is None until one is seen."""

    name: str
    span: SourceSpan
    submenus: tuple[_Submenu, ...]
    title: str = ""
    kernel: str = ""
    kind: str = ""
    append: str | None = None
    initrd: str = ""


class _Reader:
    """All that the lines of a file and of those it includes have said so far.

    `settings` are the directives that hold for the whole menu, by their keywords.
    """

    def __init__(self, context: MenuContext) -> None:
        self.devices = context.devices
        self.device = context.device
        self.directory = context.path.rpartition("/")[0] or "/"
        self.labels: list[_Label] = []
        self.label: _Label | None = None
        self.submenus: list[_Submenu] = []
        self.settings: dict[str, Field] = {}
        self.append = self.initrd = ""
        self.menu_default: _Label | None = None
        self.hidden = False
        self.password: Password | None = None
        self.files = 0
        self.room_bytes = TOTAL_LIMIT_BYTES
        self.warnings: list[MenuWarning] = []

    def warn(self, message: str, at: Field, code: str = "", *, subject: str = "") -> None:
        if len(self.warnings) < WARNING_LIMIT:
            self.warnings.append(MenuWarning(message, at.span, code, subject))

    def number(self, keyword: str, unset: int) -> int:
        """The number of a setting; 0, with a warning, if it is something else."""
        directive = self.settings.get(keyword)
        if directive is None:
            return unset
        match = re.match(r"\d{1,9}", directive.value, re.ASCII)
        if match is None:
            self.warn(f"{shorten(keyword)} {shorten(directive.value)!r} is not a number", directive, "number")
        return int(match[0]) if match else 0

    def close_label(self) -> None:
        """What is global now holds for the label that ends here."""
        if self.label is not None:
            if self.label.append is None:
                self.label.append = self.append
            self.label.initrd = self.label.initrd or self.initrd
        self.label = None

    def end_submenu(self) -> None:
        self.close_label()
        del self.submenus[-1:]


def build(data: bytes, context: MenuContext) -> Menu:
    """The menu in `data` and the files it includes; never fails for what the bytes say."""
    reader = _Reader(context)
    _read(reader, context.name, data, 0)
    reader.close_label()
    _read_menu_of_ui(reader)
    if reader.number("implicit", 1) and not reader.labels:
        _add_implicit_entry(reader)
    entries = [_entry(reader, index, label) for index, label in enumerate(reader.labels)]
    # Tenths of seconds, rounded up; none or 0 waits for ever.
    tenths = [tenths for keyword in ("timeout", "totaltimeout") if (tenths := reader.number(keyword, 0))]
    timeout = -(-min(tenths) // 10) if tenths else None
    return context.menu(
        DIALECT,
        entries,
        reader.warnings,
        default=_default(reader, timeout is not None),
        timeout=timeout,
        hidden=reader.hidden,
        password=reader.password,
    )


# --- reading ----------------------------------------------------------------------------------------------


def _read(reader: _Reader, file: str, data: bytes, depth: int) -> None:
    """Included files act as if their text stood in place of the line that names them."""
    tree = parse(data, file)
    if not tree.complete:
        reader.warnings.append(MenuWarning(f"{file}: {tree.limit}"))
    for directive in tree.fields:
        if directive.key in ("include", "menu include"):
            _include(reader, directive, depth)
        elif directive.key.startswith("menu"):
            _read_menu_directive(reader, directive)
        elif reader.label is not None and _read_in_label(reader.label, directive):
            continue
        else:
            _read_global(reader, directive)


def _include(reader: _Reader, directive: Field, depth: int) -> None:
    """`INCLUDE FILE [TITLE]`; with a title it is a sub-menu."""
    name, _, title = directive.value.partition(" ")
    data = _read_included(reader, directive, name, depth)
    if data is None:
        return
    if title.strip():
        reader.submenus.append(_Submenu(title.strip()))
    _read(reader, *data, depth + 1)
    if title.strip():
        reader.end_submenu()


def _read_included(reader: _Reader, directive: Field, name: str, depth: int) -> tuple[str, bytes] | None:
    """The name for messages and the bytes; None, with a warning, if they cannot be had."""
    reader.files += 1
    if depth >= INCLUDE_DEPTH or reader.files > INCLUDE_LIMIT:
        if reader.files <= INCLUDE_LIMIT + 1:
            limits = f"{INCLUDE_DEPTH} deep, {INCLUDE_LIMIT} files"
            reader.warn(f"{shorten(name)!r} is not included: the limit is {limits}", directive, "loop")
        return None
    if reader.device is None or not name:
        reader.warn(f"{shorten(name)!r} is not included: it has no disk to be looked for on", directive)
        return None
    path = from_directory(reader.devices, reader.device, reader.directory, name)
    try:
        file = reader.devices.mount(reader.device).open(path)
        data = file.read_at(0, reader.room_bytes)
    except PvbootError as err:
        reader.warn(f"{shorten(name)!r} is not included: {err}", directive, "unread-file")
        return None
    if file.size > len(data):
        reader.warn(f"{shorten(name)!r} is cut: {TOTAL_LIMIT_BYTES} bytes of included files are the limit", directive)
    reader.room_bytes -= len(data)
    return f"{reader.device}{path}", data


def _read_menu_directive(reader: _Reader, directive: Field) -> None:
    """`MENU ...`; colours, messages and layout mean nothing here."""
    word, label = directive.key.partition(" ")[2], reader.label
    if word == "label" and label is not None:
        label.title = directive.value
    elif word in ("label", "title") and reader.submenus and label is None:
        reader.submenus[-1].title = directive.value
    elif word == "default" and label is not None and not label.submenus:
        reader.menu_default = label  # one in a sub-menu is for those who open it
    elif word in ("quit", "exit", "goto") and label is not None:
        label.kind = "menu"
    elif word == "begin":
        reader.close_label()
        reader.submenus.append(_Submenu(directive.value))
    elif word == "end":
        reader.end_submenu()
    elif word == "separator":
        reader.close_label()
    elif word == "hidden":
        reader.hidden = True
    elif word == "master":
        secret = re.fullmatch(r"passwd\s+(.+)", directive.value, re.IGNORECASE)
        if secret:
            kind = "md5" if secret[1].startswith("$1$") else "unsupported" if secret[1].startswith("$") else "plain"
            reader.password = Password(kind, secret[1])
    elif word == "passwd":
        reader.warn("the password of a single entry is not asked for", directive)


def _read_in_label(label: _Label, directive: Field) -> bool:
    """Take a directive that belongs to an entry; False if this one does not."""
    if directive.key in _KERNELS:
        label.kernel, label.kind = directive.value, directive.key
    elif directive.key == "localboot":
        label.kernel, label.kind = "", "localboot"
    elif directive.key == "append":
        label.append = "" if directive.value == "-" else directive.value
    elif directive.key == "initrd":
        label.initrd = directive.value
    else:
        return False
    return True


def _read_global(reader: _Reader, directive: Field) -> None:
    key, value = directive.key, directive.value
    if key == "label":
        reader.close_label()
        reader.label = _Label(_unquoted(value), directive.span, tuple(reader.submenus[:SUBMENU_DEPTH]))
        if len(reader.labels) < ENTRY_LIMIT:
            reader.labels.append(reader.label)
            if len(reader.labels) == ENTRY_LIMIT:
                reader.warn(f"entries behind this one are left out: the limit is {ENTRY_LIMIT}", directive)
    elif key == "append":
        reader.append = "" if value == "-" else value
    elif key == "initrd":
        reader.initrd = value
    elif key in ("default", "ui", "ontimeout", "timeout", "totaltimeout", "implicit"):
        reader.settings[key] = directive
    elif key not in KEYWORDS:
        reader.warn(f"unknown keyword {quoted(key)} is skipped", directive, "unknown-command", subject=key)


# --- the whole menu ---------------------------------------------------------------------------------------


def _read_menu_of_ui(reader: _Reader) -> None:
    """`UI vesamenu.c32 FILE` (or DEFAULT) shows that file's menu; it matters if this one has no entries."""
    directive = reader.settings.get("ui") or reader.settings.get("default")
    if reader.labels or directive is None:
        return
    program, *names = directive.value.split()[:INCLUDE_LIMIT] or [""]
    if program.rpartition("/")[2].lower() not in _MENU_PROGRAMS:
        return
    for name in names:
        data = _read_included(reader, directive, name, 0) if name != "~" else None
        if data is not None:
            _read(reader, *data, 1)
            reader.close_label()


def _add_implicit_entry(reader: _Reader) -> None:
    """A file without labels starts what DEFAULT names: a kernel and its arguments."""
    default = reader.settings.get("default")
    kernel, _, append = default.value.partition(" ") if default is not None else ("", "", "")
    if default is None or not kernel or kernel.lower().endswith(_NO_LINUX):
        return
    append = f"{reader.append} {append.strip()}".strip()
    reader.labels.append(_Label(kernel, default.span, (), "", kernel, "kernel", append, reader.initrd))


def _default(reader: _Reader, has_timeout: bool) -> int:
    """ONTIMEOUT if the clock can run out, MENU DEFAULT, DEFAULT, else the first entry."""
    on_timeout, default = reader.settings.get("ontimeout"), reader.settings.get("default")
    index = _label_index(reader, on_timeout) if has_timeout and on_timeout is not None else None
    if index is None:
        index = next((number for number, label in enumerate(reader.labels) if label is reader.menu_default), None)
    if index is None and default is not None:
        index = _label_index(reader, default)
    return index or 0


def _label_index(reader: _Reader, directive: Field) -> int | None:
    """The label that is meant, the whole text or its first word; None for a program such as vesamenu.c32."""
    wanted = directive.value
    word = wanted.partition(" ")[0]
    names = [label.name for label in reader.labels]
    for name, found in ((wanted, names), (word, names), (word.lower(), [name.lower() for name in names])):
        if name in found:
            if name != wanted and name != wanted.lower():
                reader.warn(f"the arguments behind {shorten(word)!r} are left out", directive)
            return found.index(name)
    if not word.lower().endswith(_NO_LINUX) and names:
        reader.warn(f"no entry is labelled {shorten(wanted)!r}", directive, "default")
    return None


# --- entries ----------------------------------------------------------------------------------------------


def _entry(reader: _Reader, index: int, label: _Label) -> Entry:
    title = re.sub(r"\^(?=.)", "", label.title, count=1).strip() or label.name
    submenu = tuple(submenu.title.replace("^", "", 1) for submenu in label.submenus)

    def files() -> BootFiles:
        def place(name: str) -> str:
            return from_directory(reader.devices, reader.device, reader.directory, name)

        kind, kernel = label.kind, label.kernel
        if not kind and exists(reader.devices, reader.device, place(label.name)):
            kind, kernel = "linux", label.name  # to syslinux the label itself is then the kernel
        wanted = wanted_files(kind, kernel, label.append or "", label.initrd)
        root = str(reader.device) if reader.device else None
        found = place(wanted.kernel) if wanted.kernel else None
        return replace(wanted, kernel=found, initrds=tuple(map(place, wanted.initrds)), root=root)

    return Entry(index, title, (), label.span, label.name, submenu, files=files)


def wanted_files(kind: str, kernel: str, append: str, initrd: str) -> BootFiles:
    """What an entry loads, names as they are written; `kernel` is None for what a PV guest cannot start.

    `initrd=` among the arguments names the ramdisk and is taken out, blanks around it stay: as pygrub hands it on.
    APPEND takes the place of arguments behind the kernel's name.
    """
    name, _, arguments = _unquoted(kernel).partition(" ")
    program = name.rpartition("/")[2].lower()
    if kind in ("kernel", "com32", "linux"):
        if program == "mboot.c32":
            return _multiboot(append or arguments)
        if program == "linux.c32":
            name, _, arguments = (append or arguments).strip().partition(" ")
            return _linux(name, arguments, initrd)
        if name and (kind == "linux" or (kind == "kernel" and not program.endswith(_NO_LINUX))):
            return _linux(name, append or arguments, initrd)
    return BootFiles(None)


def _linux(kernel: str, append: str, initrd: str) -> BootFiles:
    initrds = list(_commas(initrd))
    kept: list[str] = []
    for word in append.split(" "):
        if word.startswith("initrd="):
            initrds = list(_commas(word.removeprefix("initrd=")))
            kept.append("")
        else:
            kept.append(word)
    return BootFiles(kernel, _unquoted(" ".join(kept).strip()), tuple(initrds))


def _multiboot(append: str) -> BootFiles:
    """`xen args --- vmlinuz args --- initrd`: a PV guest starts the Linux in it; Xen may be missing."""
    parts = [part.strip() for part in re.split(r"(?:^|(?<=\s))---(?=\s|$)", append)]
    first = parts[0].partition(" ")[0].rpartition("/")[2]
    if len(parts) > 2 or first.startswith("xen"):
        parts = parts[1:]
    kernel, _, args = (parts or [""])[0].partition(" ")
    if not kernel:
        return BootFiles(None)
    initrds = tuple(part.partition(" ")[0] for part in parts[1:2] if part)
    return BootFiles(kernel, args.strip(), initrds)


def _commas(text: str) -> Iterator[str]:
    return (name.strip() for name in text.split(",", INITRD_LIMIT)[:INITRD_LIMIT] if name.strip())


def _unquoted(text: str) -> str:
    """Without the quotes around the whole."""
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' and '"' not in text[1:-1] else text
