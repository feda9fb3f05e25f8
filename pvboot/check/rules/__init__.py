"""The rules, by what they look at; importing a module enters its rules into `pvboot.check.api.RULES`.

One row a module: `load_rules` imports them all.  A rule is a generator of `Problem`s that looks at its `Subject` and at
nothing else, in time that grows with the menu and not with its square.
"""

from importlib import import_module

MODULES = (
    "engine",
    "text",
    "menu_lst_words",
    "menu_lst_head",
    "menu_lst_entries",
    "config_files",
    "meaning",
    "disks",
    "files",
    "kernels",
    "targets",
    "loader_words",
    "grub_cfg",
    "extlinux",
    "bls",
    "depth",
)


def load_rules() -> None:
    """Enter every rule into the registry; a second call does nothing."""
    for name in MODULES:
        import_module(f"pvboot.check.rules.{name}")
