"""Rules about the meaning of a menu of any dialect: entries that boot nothing, names that stand twice, clocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from grammars.spans import SourceSpan
from pvboot.check.api import Problem, rule
from pvboot.check.subject import Subject
from pvboot.grub_errors import quoted, shorten
from pvboot.menu.model import Entry
from pvboot.shell.request import encode_cmdline
from pvboot.shell.settings import UNSUPPORTED

CMDLINE_BYTES: Final = 1023  # Xen's start_info holds 1024 with the NUL
LONG_TIMEOUT_SECONDS: Final = 600

_WITHOUT_KERNEL: Final = frozenset({"configfile", "chainloader", "halt", "reboot", "dhcp", "bootp", *UNSUPPORTED})
# Arguments of kernels whose root is not a disk's: live systems, installers, network boots, other systems.
_OTHER_ROOT = re.compile(
    r"(^|\s)(root|real_root|nfsroot|live\S*|boot|inst\.\S+|install|method|ks|preseed|url|ip|init|rdinit|rescue\S*|"
    r"cdroot|netboot|BOOT_IMAGE|casper\S*|archisobasedir|alpine_dev|modloop|modules|rootfstype|systemd\.\S+|"
    r"vmwgfx|vfs\.root\.\S+|kern\.\S+|fallback-to-tools|mount\.usr|usbboot|rd\.live\S*)(=|\s|$)"
)
_NOT_LINUX = re.compile(
    r"(^|/)(xen|memtest|mt86|gpxe|ipxe|netbsd|kfreebsd|mini-?os|grub|pv-?grub|pvgrub|ttylinux|"
    r"hurd|gnumach|mboot|unix|multiboot)[^/]*$",
    re.IGNORECASE,
)


@rule("no-entries", "error", "the menu has no entry")
def no_entries(subject: Subject) -> Iterator[Problem]:
    if not subject.menu.entries:
        others = bool(subject.others) and not subject.chosen
        yield Problem("the menu has no entry: a loader stays at its prompt", severity="warning" if others else None)


@rule("duplicate-title", "warning", "two entries have the same title")
def duplicate_title(subject: Subject) -> Iterator[Problem]:
    first: dict[tuple[tuple[str, ...], str], Entry] = {}
    for entry in subject.menu.entries:
        title = entry.title.strip()
        if not title:
            continue
        earlier = first.setdefault((entry.submenu, title), entry)
        if earlier is not entry:
            message = f"the title {quoted(title)} is that of entry {earlier.index} in line {earlier.line}, too"
            yield Problem(message, entry.span, entry.index)


@rule("duplicate-id", "warning", "two entries have the same id")
def duplicate_id(subject: Subject) -> Iterator[Problem]:
    first: dict[str, Entry] = {}
    for entry in subject.menu.entries:
        if entry.id is None:
            continue
        earlier = first.setdefault(entry.id, entry)
        if earlier is not entry:
            message = (
                f"the id {quoted(entry.id)} is that of entry {earlier.index} in line {earlier.line}, too: "
                "a default of that name means the first"
            )
            yield Problem(message, entry.span, entry.index)


@rule("entry-without-kernel", "warning", "an entry loads nothing")
def entry_without_kernel(subject: Subject) -> Iterator[Problem]:
    """An error if it boots unattended.  Entries of other dialects are scripts that may do anything else: only those
    that boot unattended are looked at."""
    for entry in subject.menu.entries:
        unattended = entry.index in subject.unattended
        if entry.files is None:
            if not _loads_nothing(entry, unattended):
                continue
            stays = "the guest stays in the menu"
        elif not unattended or subject.loads(entry).error or subject.loads(entry).kernel:
            continue
        else:
            stays = "the guest does not boot"
        role = "a fallback," if unattended else "the entry"
        which = "the default entry" if entry.index == subject.menu.default else role
        message = f"{which} {quoted(entry.title)} loads no kernel: {stays}"
        yield Problem(message, entry.span, entry.index, severity="error" if unattended else None)


def _loads_nothing(entry: Entry, unattended: bool) -> bool:
    names = {command.name for command in entry.commands}
    if "kernel" in names or names & _WITHOUT_KERNEL:
        return False
    # Debian's update-grub writes a title with a bare `root` as a divider between its entries and others.
    divider = names == {"root"} and not any(command.args for command in entry.commands)
    return unattended or not divider


@rule("locked-default", "error", "an entry that boots unattended asks for a password")
def locked_default(subject: Subject) -> Iterator[Problem]:
    for index in sorted(subject.unattended):
        entry = subject.menu.entries[index]
        asks = next((command for command in entry.commands if command.name == "password"), None)
        if entry.locked or asks is not None:
            which = "the default entry" if index == subject.menu.default else "a fallback,"
            message = f"{which} {quoted(entry.title)} needs a password: the guest waits for someone to type it"
            yield Problem(message, asks.span if asks else entry.span, index)


@rule("kernel-without-root-arg", "warning", "a kernel's arguments do not name its root file system")
def kernel_without_root_arg(subject: Subject) -> Iterator[Problem]:
    for entry, path, args, span in _kernels(subject):
        modules = " ".join(module.args for module in subject.names(entry).modules)
        if not path or _NOT_LINUX.search(path) or _OTHER_ROOT.search(args) or _OTHER_ROOT.search(modules):
            continue
        if subject.dialect == "menu.lst" and _is_foreign_type(entry):
            continue
        yield Problem(f"the arguments of {shorten(path)} have no root=", span, entry.index)


@rule("cmdline-too-long", "error", "a kernel's command line is longer than Xen hands over")
def cmdline_too_long(subject: Subject) -> Iterator[Problem]:
    for entry, _path, args, span in _kernels(subject):
        size = len(encode_cmdline(args))
        if size > CMDLINE_BYTES:
            message = f"the command line has {size} bytes, Xen's start_info holds {CMDLINE_BYTES}: the end is lost"
            yield Problem(message, span, entry.index)


def _kernels(subject: Subject) -> Iterator[tuple[Entry, str, str, SourceSpan]]:
    """Yield the kernel that each entry starts: path, arguments and where they stand.

    Entries of GRUB Legacy are read off, all of them; the scripts of others are run, as many as are opened at all.
    """
    for entry in subject.menu.entries if subject.dialect == "menu.lst" else subject.opened_entries:
        kernel = subject.names(entry).kernel
        if kernel is not None:
            arguments = {command.span.line: command.args_span for command in entry.commands}
            yield entry, kernel.place[1], kernel.args, arguments.get(kernel.span.line, kernel.span)


def _is_foreign_type(entry: Entry) -> bool:
    return any(
        "--type=" in command.args and not re.search(r"--type=(big)?linux", command.args)
        for command in entry.commands
        if command.name == "kernel"
    )


def _path(name: str) -> str:
    return name.partition(")")[2] if name.startswith("(") else name


# --- the clock --------------------------------------------------------------------------------------------


@rule("surprising-timeout", "warning", "the menu's clock does not do what one would think")
def surprising_timeout(subject: Subject) -> Iterator[Problem]:
    menu = subject.menu
    span = _timeout_span(subject)
    if not menu.entries:
        return
    if menu.timeout is None or menu.timeout < 0:
        if subject.dialect == "menu.lst" and span is not None:
            return  # timeout-not-a-number
        if menu.hidden:
            yield Problem("a hidden menu without a timeout is shown, and waits for ever", span)
        else:
            yield Problem("no timeout: the guest waits for ever for someone to choose", span)
    elif menu.timeout >= LONG_TIMEOUT_SECONDS:
        message = (
            f"a timeout of {menu.timeout} seconds ({menu.timeout // 60} minutes): GRUB counts in seconds, "
            "syslinux in tenths"
        )
        yield Problem(message, span)
    elif menu.timeout == 0 and not menu.hidden and len(menu.entries) > 1:
        yield Problem("timeout 0: the default boots at once, the menu is never shown", span, severity="note")
    elif menu.timeout == 0 and len(menu.entries) > 1 and subject.dialect == "menu.lst":
        yield Problem(
            "a hidden menu with timeout 0: no key is waited for, nobody can choose another entry", span, severity="note"
        )


def _timeout_span(subject: Subject) -> SourceSpan | None:
    if subject.dialect == "menu.lst":
        line = subject.menu_lst.last_in_head("timeout")
        return line.argument_span if line and line.argument else line.name_span if line else None
    return None


# --- several menus ----------------------------------------------------------------------------------------


@rule("menus-disagree", "warning", "another loader takes another menu of the guest, and boots something else")
def menus_disagree(subject: Subject) -> Iterator[Problem]:
    """Found at the menu that pvboot does not take.  Directories of entries are left out: other menus include them."""
    if subject.chosen or not subject.menu.entries or subject.dialect == "bls":
        return
    chosen = next((other for other in subject.others if other.chosen), None)
    if chosen is None or chosen.dialect == "bls" or chosen.volume != subject.volume:
        return
    ours, theirs = _default_kernel(subject), _default_kernel(chosen)
    if ours and theirs and ours != theirs:
        span = replace(subject.menu.entries[subject.menu.default].span)
        who = "PV-GRUB boots" if subject.dialect == "menu.lst" else "some loaders boot"
        message = f"{who} {shorten(ours)} by this menu, and pvboot {shorten(theirs)} by {chosen.name}"
        yield Problem(message, span, subject.menu.default)


def _default_kernel(subject: Subject) -> str | None:
    """Return the kernel's file name: separate /boot file systems make the paths differ."""
    kernel = subject.loads(subject.menu.entries[subject.menu.default]).kernel if subject.menu.entries else None
    return _path(kernel.text).rpartition("/")[2] if kernel else None
