"""What a check is asked to look at, and as whom it judges.  Plain data that can be sent to another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pvboot.check.settings import Override

# How far a check goes; each includes those before it.
DEPTHS: Final = ("text", "files", "kernel", "plan", "run")
RUN_SECONDS: Final = 60.0  # of CPU time, an entry that is started
FINDINGS_PER_RULE: Final = 50  # a rule and a file; what is beyond is only counted


@dataclass(frozen=True, slots=True)
class Target:
    """The loader and the hypervisor that the guest is meant for; None: any.

    `xen` is (major, minor); `loader` is "pvboot", "pv-grub", "pygrub" or "pvgrub2"; `arch` "x86_64" or "x86_32p".
    """

    xen: tuple[int, int] | None = None
    loader: str | None = None
    arch: str | None = None


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """`disks` are further ones of the guest, `config` the menu to look at instead of all that are found.

    `depth` is one of `DEPTHS`.  `severities` are pairs of a rule and the severity it is given, "off" among them;
    `overrides` change that for some sources and files.  `ignore_comments` obeys what a menu says about itself.
    `memory_mib` is what the guest will have, `until` the console line a run waits for.
    """

    disks: tuple[str, ...] = ()
    config: str | None = None
    depth: str = "kernel"
    target: Target = Target()
    memory_mib: int | None = None
    until: str | None = None
    run_seconds: float = RUN_SECONDS
    severities: tuple[tuple[str, str], ...] = ()
    overrides: tuple[Override, ...] = ()
    ignore_comments: bool = True
    per_rule: int = FINDINGS_PER_RULE


DEFAULTS: Final = CheckOptions()
