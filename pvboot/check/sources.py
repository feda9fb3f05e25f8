"""The menus of a source that are checked: all of them, in the order in which loaders look for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from fsdrivers.errors import FsError
from pvboot.check.api import Problem
from pvboot.check.model import CheckOptions
from pvboot.check.opened import OpenedSource
from pvboot.check.rules.engine import NO_MENU, UNREADABLE_MENU
from pvboot.check.subject import Listener, Subject
from pvboot.devices import Devices
from pvboot.errors import MenuError, PvbootError
from pvboot.menu import dialects
from pvboot.menu.discovery import can_boot, context_of, find, read_menu
from pvboot.menu.menu_lst import build_tree
from pvboot.menu.search import FoundMenu, Search
from pvboot.sources import HEAD_BYTES, MENU_LIMIT_BYTES, has_menu_name, open_devices

if TYPE_CHECKING:
    from pvboot.menu.dialects import Dialect

MENUS_LIMIT: Final = 64  # a source; further ones are not looked at


@dataclass(slots=True)
class GuestMenus:
    """The menus of one source, and the reasons why others could not be read (rule and problem)."""

    subjects: list[Subject] = field(default_factory=list)
    problems: list[tuple[str, Problem]] = field(default_factory=list)


@contextmanager
def open_subjects(source: str, options: CheckOptions, opened: OpenedSource | None = None) -> Iterator[GuestMenus]:
    """Find the menus of an image, device, directory or plain file; its disks stay open inside of the `with`.

    `opened` is a source that is open already; no file is opened then, and none closed.
    Raises `PvbootError` if there is nothing to check.
    """
    if opened is not None:
        yield _menus_of_guest(source, opened.devices, options)
        return
    with open_devices(source, options.disks) as devices:
        yield _menus_of_guest(source, devices, options)


def dialect_by_words(path: str, head: bytes) -> Dialect:
    """Choose a dialect by the name as in a guest; for another name by the words that only one dialect has."""
    if has_menu_name(path):
        return dialects.dialect_of(path)

    def has(words: bytes, flags: re.RegexFlag = re.MULTILINE) -> bool:
        return re.search(rb"^[ \t]*" + words, head, flags | re.MULTILINE) is not None

    if has(rb"(title|kernel|module)[ \t=]") and not has(rb"label[ \t]", re.IGNORECASE):
        return dialects.MENU_LST
    if has(rb"(menuentry|submenu|blscfg|function|search)\b"):
        return dialects.GRUB_CFG
    if has(rb"image[ \t]*="):
        return dialects.ELILO
    return dialects.EXTLINUX if has(rb"(label|append|prompt)\b", re.IGNORECASE) else dialects.MENU_LST


def _menus_of_guest(source: str, devices: Devices, options: CheckOptions) -> GuestMenus:
    guest = GuestMenus()
    if options.config is not None:
        guest.subjects = [_subject(source, devices, find(devices, options.config), options)]
        return guest
    if devices.menu is not None:  # a URL is then that of a menu, and not of all that its server has
        found = find(devices)
        dialect = dialect_by_words(found.path, devices.menu.file.read_at(0, HEAD_BYTES))
        guest.subjects = [_subject(source, devices, replace(found, dialect=dialect), options)]
        return guest
    search = Search(devices)
    for found in _different(devices, search.candidates()):
        if len(guest.subjects) == MENUS_LIMIT:
            problem = Problem(f"more than {MENUS_LIMIT} menus: the others are not checked", severity="warning")
            guest.problems.append((UNREADABLE_MENU, problem))
            break
        try:
            guest.subjects.append(_subject(source, devices, found, options))
        except PvbootError as err:
            guest.problems.append((UNREADABLE_MENU, Problem(str(err), file=f"{found.device}{found.path}")))
    guest.problems += [(UNREADABLE_MENU, Problem(warning.message)) for warning in search.passed]
    if not guest.subjects and not search.loaders:
        if not guest.problems or not search.looked_at:
            guest.problems = [(NO_MENU, Problem(_why_nothing(devices)))]
        return guest
    _introduce(guest.subjects)
    return guest


def _why_nothing(devices: Devices) -> str:
    """Return the reason why no menu is found.  Raises it if the image, and not the guest in it, is the trouble."""
    try:
        find(devices)
    except MenuError as err:
        if err.exit_code == MenuError.exit_code:
            return err.what
        raise
    return "no boot menu"


def _different(devices: Devices, candidates: Iterator[FoundMenu]) -> Iterator[FoundMenu]:
    """Yield each menu once: `grub.conf` is often a link to `menu.lst`, `/boot/boot` one to `/boot`."""
    seen: set[object] = set()
    for found in candidates:
        assert found.device is not None
        key: object
        try:
            key = (found.device, devices.mount(found.device).lookup(found.path).inode)
        except FsError:
            key = (found.device, found.path)
        if key not in seen:
            seen.add(key)
            yield found


def _introduce(subjects: list[Subject]) -> None:
    """Make each menu know the others, and the one that a loader takes."""
    chosen = next((subject for subject in subjects if can_boot(subject.menu)), subjects[0] if subjects else None)
    for subject in subjects:
        subject.chosen = subject is chosen
        subject.others = tuple(other for other in subjects if other is not subject)


def _subject(source: str, devices: Devices, found: FoundMenu, options: CheckOptions) -> Subject:
    """Read a menu and understand it.  A `menu.lst` is parsed once for both."""
    data, complete = read_menu(found, MENU_LIMIT_BYTES)
    listener = Listener()
    context = replace(context_of(devices, found), on_warning=listener)
    tree = None
    if found.dialect is dialects.MENU_LST:
        from grammars.menu_lst import parse

        tree = parse(data, f"{context.volume or ''}{context.path}")
        menu = build_tree(tree, context)
    else:
        menu = found.dialect.builder()(data, context)
    subject = Subject(source, data, found.dialect.name, context.volume, context.path, menu, options=options)
    subject.devices = devices if devices.disks else None
    subject.complete, subject.listener = complete, listener
    if tree is not None:
        subject.tree = tree
    return subject
