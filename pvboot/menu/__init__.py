"""The meaning of menu files: discovery, entries, defaults.  Bytes on disk and terminals are not known here.

`discovery.find` and `discovery.load` are the way in, for every dialect of `dialects.DIALECTS`; both are to be
had from here.  `model` is what comes out, `words` the vocabulary, `summary` what an entry would load.
"""

from pvboot.menu.discovery import FoundMenu, find, load
from pvboot.menu.model import Command, Entry, Menu, MenuWarning

__all__ = ["Command", "Entry", "FoundMenu", "Menu", "MenuWarning", "find", "load"]
