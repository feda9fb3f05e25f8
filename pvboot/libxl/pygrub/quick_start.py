"""Measures before the other imports, so that a boot loader starts as fast as it can.

Imports are most of the CPU time of a whole run.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from types import ModuleType

# Imports make thousands of objects that live as long as the process.
gc.disable()


class _Later(ModuleType):
    """Stands for a module until one of its attributes is asked for.

    importlib's LazyLoader loads at the next import statement already, since that asks for `__spec__`.
    """

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(self.__name__, None)
        module = import_module(self.__name__)
        self.__dict__.update(vars(module))
        return getattr(module, name)


# `dataclasses` uses it only for classes without a docstring, of which there are none here; it costs a tenth of a run.
if "inspect" not in sys.modules:
    sys.modules["inspect"] = _Later("inspect")
