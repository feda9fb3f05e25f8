"""An entry as command lines that a person can edit."""

from __future__ import annotations

from pvboot.menu.model import BootFiles, Entry


def command_lines(entry: Entry) -> list[str]:
    """The entry's lines as its menu has them; for another dialect than GRUB Legacy's, lines that load the same.

    `session.Choice.lines` takes them back.  Raises `PvbootError` or `FsError` if the entry's script fails.
    """
    if entry.files is None:
        return [command.text for command in entry.commands]
    return _lines_of(entry.files())


def _lines_of(files: BootFiles) -> list[str]:
    lines = [f"root {files.root}"] if files.root is not None else []
    if files.kernel is not None:
        lines.append(f"kernel {files.kernel} {files.args}".rstrip())
    if files.initrds:
        lines.append(f"initrd {' '.join(files.initrds)}")
    lines += [f"module {file} {args}".rstrip() for file, args in files.modules]
    return lines
