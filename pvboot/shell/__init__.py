"""The GRUB command interpreter: one function a command, in a table.  Terminals are not known here.

`interpreter.run_entry` and `run_line` run commands on a `state.Shell`, `session.boot_menu` goes from a menu to
a booted entry.  Commands live in `loading`, `files` and `settings` and enter themselves into `table.COMMANDS`;
`request` is what comes out.
"""
