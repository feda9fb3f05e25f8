"""Words and forms of a menu that the loader asked for by --target does not understand, though others do.

Sources: pygrub of Xen 4.17 (tools/pygrub/src/GrubConf.py, ExtLinuxConf.py), run and read; GRUB 2.06 without the
patches of Fedora.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from grammars.grub_cfg import Function, commands
from pvboot.check.api import Problem, rule
from pvboot.check.loaders import loader_of
from pvboot.grub_errors import shorten

if TYPE_CHECKING:
    from grammars.grub_cfg import Command
    from pvboot.check.subject import Subject

# Commands that load or make entries; what loaders pass over without harm is not listed.  A further file is read by most
# menus if it is there: that is only noted.
_FURTHER_FILES: Final = ("source", ".", "configfile")
_GRUB_CFG: Final = {
    "pygrub": {
        "linuxefi": "the entry has no kernel",
        "initrdefi": "the guest starts without this ramdisk",
        "blscfg": "the entries in loader/entries are not shown",
        "configfile": "that menu is not read",
        "source": "that file is not read",
        ".": "that file is not read",
    },
    "pvgrub2": {
        "linuxefi": "GRUB for Xen has no such command",
        "initrdefi": "GRUB for Xen has no such command",
        "blscfg": "only the GRUB of Fedora and its family has this command",
    },
}
_EXTLINUX: Final = {
    "linux": "the entry has no kernel",
    "initrd": "the guest starts without its ramdisk",
    "include": "that file is not read",
    "menu include": "that file is not read",
    "menu default": "the default is another entry, or the first",
    "ontimeout": "nothing happens then",
}
_TITLE: Final = re.compile(r"""\s*menuentry ["']""")
_TITLE_END: Final = re.compile(r"""["'] """)


@rule(
    "word-not-known-to-loader",
    "error",
    "the loader does not understand this, although others do",
    dialects=("grub.cfg", "extlinux"),
)
def word_not_known_to_loader(subject: Subject) -> Iterator[Problem]:
    """With --target loader=pygrub or pvgrub2."""
    loader = loader_of(subject.options.target)
    if loader is None or subject.dialect not in loader.dialects:
        return
    if subject.dialect == "extlinux":
        if loader.name == "pygrub":
            for field in subject.fields:
                if field.key in _EXTLINUX:
                    severity = None if field.key in ("linux", "initrd") else "warning"
                    message = f"pygrub does not know {field.key.upper()}: {_EXTLINUX[field.key]}"
                    yield Problem(message, field.span, severity=severity)
        return
    known = _GRUB_CFG.get(loader.name, {})
    outside = [statement for statement in subject.script.statements if not isinstance(statement, Function)]
    for command in commands(outside):
        name = command.words[0].pieces[0].text if command.words[0].pieces else ""
        if name in known:
            severity = "note" if name in _FURTHER_FILES else None
            yield Problem(f"{loader.title} does not know {name!r}: {known[name]}", command.span, severity=severity)
        elif loader.name == "pygrub":
            yield from _stumbles(subject, name, command)


def _behind_the_brace(line: str) -> str | None:
    """Return what follows the last brace of a line that begins an entry for pygrub; None for other lines."""
    start = _TITLE.match(line)
    end = _TITLE_END.search(line, start.end()) if start else None
    brace = line.rfind("{")
    return line[brace + 1 :].strip() if end and end.end() <= brace else None


def _stumbles(subject: Subject, name: str, command: Command) -> Iterator[Problem]:
    """What pygrub reads by the line and gets wrong."""
    if name == "menuentry" and command.block is not None:
        body = _behind_the_brace(subject.lines[command.span.line - 1])
        if body is None:
            yield Problem(
                "pygrub wants one blank, a title in quotes, a blank and a brace in this line, and refuses "
                "the whole menu without them",
                command.span,
            )
        elif body:
            yield Problem(
                "pygrub does not see what stands behind the brace in this line", command.span, severity="warning"
            )
    elif name in ("initrd", "initrd16") and len(command.words) > 2:
        yield Problem("pygrub takes these files for one whose name has blanks", command.span)
    elif name == "set" and len(command.words) > 1:
        word = command.words[1]
        text = command.source.text[word.start : word.end]
        if text.count("=") > 1:
            message = f"pygrub refuses the whole menu for the second equals sign in {shorten(text)}"
            yield Problem(message, command.source.span(word.start, word.end))
