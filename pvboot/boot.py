"""The way of a boot on one page: disks -> menu -> entry -> files -> kernel -> layout -> plan -> hand-over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pvboot.devices import Devices
from pvboot.errors import MenuError
from pvboot.handoff.machine import MachineOptions, plan_in_fresh_domain, run_machine, start_machine
from pvboot.loading import LoadedBoot, LoadOptions, load_request
from pvboot.menu import find, load
from pvboot.shell.request import BootRequest, PowerControl
from pvboot.shell.session import Choice, boot_menu, choose_default
from pvboot.shell.state import Console

if TYPE_CHECKING:
    from pvboot.kexec.layout import DomainLayout
    from pvboot.kexec.relocate import KexecPlan
    from pvboot.machine.outcome import Outcome
    from pvboot.menu import Menu

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class MenuOptions:
    """Which menu is shown, to whom, and how an entry is chosen; `config` is a path instead of looking for the menu."""

    config: str | None = None
    choose: Callable[[Menu], Choice] = choose_default
    console: Console | None = None
    interactive: bool = False
    warn: Callable[[Menu], object] = lambda _menu: None


def boot(
    devices: Devices,
    menu: MenuOptions,
    files: LoadOptions,
    nr_pages: int,
    machine: MachineOptions | None,
    planned: Callable[[KexecPlan], object] | None = None,
) -> tuple[LoadedBoot, Outcome] | KexecPlan | PowerControl:
    """Boot a guest of `nr_pages` pages from its disks, which are closed before it runs.

    `machine` None stops before the hand-over, with the plan; otherwise `planned` sees it.  Raises `PvbootError`.
    """

    def accept(request: BootRequest) -> tuple[LoadedBoot, DomainLayout]:
        loaded = load_request(request, files)
        return loaded, loaded.layout(nr_pages)

    with devices:
        chosen = _choose_entry(devices, menu, accept)
        if isinstance(chosen, PowerControl):
            return chosen
        loaded, layout = chosen
        if machine is None:
            return plan_in_fresh_domain(layout)
        started = start_machine(layout, machine, planned)
    return loaded, run_machine(started, machine)


def load_entry(devices: Devices, menu: MenuOptions, files: LoadOptions) -> LoadedBoot | PowerControl:
    """Choose an entry and load what it names.  Raises `PvbootError`."""
    return _choose_entry(devices, menu, lambda request: load_request(request, files))


def _choose_entry(
    devices: Devices, options: MenuOptions, accept: Callable[[BootRequest], Result]
) -> Result | PowerControl:
    """Find the guest's menu, choose an entry and run it.

    An entry for which `accept` raises (its kernel is not one, a file cannot be read, the domain is too small) has
    failed like one whose command fails: the menu's fallbacks are next.
    """
    menu = load(devices, find(devices, options.config))
    options.warn(menu)
    return boot_menu(
        devices, menu, accept, choose=options.choose, console=options.console, interactive=options.interactive
    )


def chooser(entry: str) -> Callable[[Menu], Choice]:
    """Choose by index, title or id; `MenuError` if the menu has no such entry.  Fallbacks are not for a choice."""

    def choose(menu: Menu) -> Choice:
        if entry.isascii() and entry.isdigit() and len(entry) < 10 and int(entry) < len(menu.entries):
            return Choice(int(entry), by_key=True)
        for found in menu.entries:
            if entry in (found.title, found.id):
                return Choice(found.index, by_key=True)
        raise MenuError(
            f"no entry {entry!r}",
            where=f"{menu.volume or ''}{menu.path}",
            expected=f"0 to {len(menu.entries) - 1}, a title or an id",
        )

    return choose
