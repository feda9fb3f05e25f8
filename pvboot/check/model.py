"""The plain data of a check: what is asked for and what was found.  It can be sent to another process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

SEVERITIES: Final = ("error", "warning", "note")
# How far a check goes; each includes those before it.
DEPTHS: Final = ("text", "files", "kernel", "plan", "run")
RUN_SECONDS: Final = 60.0  # of CPU time, an entry that is started
FINDINGS_PER_RULE: Final = 50  # a rule and a file; what is beyond is only counted


# --- what is asked for ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """The loader and the hypervisor that the guest is meant for; None: any.

    `xen` is (major, minor); `loader` is "pvboot", "pv-grub", "pygrub" or "pvgrub2"; `arch` "x86_64" or "x86_32p".
    """

    xen: tuple[int, int] | None = None
    loader: str | None = None
    arch: str | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """Severities for some sources and files: a rule of `rules` changes where one glob of each list matches."""

    sources: tuple[str, ...]
    files: tuple[str, ...]
    rules: tuple[tuple[str, str], ...]

    def applies(self, source: str, file: str) -> bool:
        """Return whether a finding in `file` of `source` is meant; an empty list matches everything."""
        return _matches(self.sources, source) and _matches(self.files, file)


def _matches(globs: tuple[str, ...], name: str) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The options of a check.

    `disks` are further ones of the guest, `config` the menu to look at instead of all that are found.  `depth` is one
    of `DEPTHS`.  `severities` are pairs of a rule and the severity it is given, "off" among them; `overrides` change
    that for some sources and files.  `ignore_comments` obeys what a menu says about itself.  `memory_mib` is what the
    guest will have, `until` the console line a run waits for.
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


# --- what was found ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.  `file` is `(DEVICE)/path` or the name of a plain file; lines and columns count from 1
    (0: the whole file), `end_column` is one behind the last letter; `entry` is the index of the menu entry."""

    rule: str
    severity: str
    message: str
    file: str
    line: int = 0
    column: int = 0
    end_column: int = 0
    entry: int | None = None


@dataclass(frozen=True, slots=True)
class SourceError:
    """The reason why a source could not be checked at all; `exit_code` follows the command line's contract."""

    message: str
    code: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class SourceResult:
    """The findings of one source.  `menus` are the menus looked at, `titles` those of their entries; `excerpts` the
    lines that findings point to, by file and line."""

    source: str
    findings: tuple[Finding, ...] = ()
    error: SourceError | None = None
    menus: tuple[str, ...] = ()
    titles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    excerpts: Mapping[tuple[str, int], str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0: nothing at error level, 1: an error was found, else that of the error that stopped the check."""
        if self.error is not None:
            return self.error.exit_code
        return int(any(finding.severity == "error" for finding in self.findings))


def count(findings: Iterable[Finding]) -> dict[str, int]:
    """Count the findings of each severity."""
    counted = dict.fromkeys(SEVERITIES, 0)
    for finding in findings:
        counted[finding.severity] += 1
    return counted
