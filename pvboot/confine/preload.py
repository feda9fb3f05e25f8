"""The one registry of modules that confined jobs need: a child without rights cannot load any.

Most jobs get all of theirs before they start.  The boot loader's reader, whose start counts, gets those of most guests
and may ask its parent for the others in `ON_DEMAND`, each once.  A name that ends in `.*` is a package with all that it
holds.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from fsdrivers.light import Final
from pvboot.confine.jobs import SandboxError

_LIBRARIES: Final = (
    "array",
    "backports.zstd",
    "bz2",
    "encodings.utf_16_be",
    "encodings.utf_16_le",
    "fcntl",
    "lz4.block",
    "lzallright",
    "lzma",
    "zlib",
)
_READERS: Final = (*_LIBRARIES, "fsdrivers.*", "pvboot.blocklist", "pvboot.unpack.*")
_MENUS: Final = ("grammars.*", "pvboot.menu.*")
_CHECK: Final = (
    *_READERS,
    *_MENUS,
    "difflib",
    "hashlib",
    "pvboot.boot",
    "pvboot.devices",
    "pvboot.fetch.errors",
    "pvboot.kernel.*",
)
_PLAN: Final = ("numpy", "pvboot.handoff.*", "pvboot.kexec.*")
_MACHINE: Final = (*_PLAN, "numpy.ma", "pvboot.machine.*", "unicorn", "unicorn.unicorn_py3.arch.intel")
_FETCH: Final = ("encodings.idna", "pvboot.fetch.*", "requests", "tempfile", "tftpy")

# When the boot loader's reader has seen that the guest is of that kind.
ON_DEMAND: Final = (
    *_LIBRARIES,
    "fsdrivers.ext2.journal",
    "fsdrivers.ext2.overlay",
    "fsdrivers.iso9660._formats",
    "fsdrivers.iso9660.descriptors",
    "fsdrivers.iso9660.filesystem",
    "fsdrivers.iso9660.records",
    "fsdrivers.iso9660.susp",
    "fsdrivers.iso9660.zisofs",
    "grammars._bls",
    "grammars._elilo",
    "grammars._extlinux",
    "grammars._grub_cfg",
    "grammars._menu_lst",
    "grammars.bls",
    "grammars.elilo",
    "grammars.extlinux",
    "grammars.fields",
    "grammars.grub_cfg",
    "grammars.menu_lst",
    "pvboot.blocklist",
    "pvboot.menu.bls",
    "pvboot.menu.bls_menu",
    "pvboot.menu.elilo",
    "pvboot.menu.extlinux",
    "pvboot.menu.grub2_rules",
    "pvboot.menu.grub_cfg",
    "pvboot.menu.grub_commands",
    "pvboot.menu.grub_disks",
    "pvboot.menu.grub_env",
    "pvboot.menu.grub_script",
    "pvboot.menu.grub_test",
    "pvboot.menu.guest_paths",
    "pvboot.menu.menu_lst",
    "pvboot.menu.versions",
    "pvboot.menu.words",
    "pvboot.unpack",
)

# Before the child starts.
PRELOADED: Final = {
    "boot-loader": (),
    "boot-menu": (*ON_DEMAND, *_MENUS, "pvboot.screen.*", "pvboot.shell.*"),
    "image-reader": (*_READERS, "pvboot.menu.dialects"),
    "netboot": (*_READERS, "configparser"),
    "fetch": _FETCH,
    "check": _CHECK,
    "check-plan": (*_CHECK, *_PLAN),
    "check-run": (*_CHECK, *_MACHINE),
    "machine": _MACHINE,
}

# Packages that a guest of their kind needs, and the program does without.
_OPTIONAL: Final = frozenset({"backports", "lz4", "lzallright", "unicorn"})
# Declarations that only people and generators read.
_UNUSED: Final = ("structs", "grammars.elements", "__main__")


# Beside the interpreter's own directories: names of hosts, certificates, credentials of object stores.
_NETWORK_FILES: Final = (
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/pki/tls",
    "/etc/pki/ca-trust",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/usr/share/ca-certificates",
    "/usr/lib/ssl",
)
_CERTIFICATE_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def files_of_the_network() -> tuple[str, ...]:
    """What a child that fetches must be able to read."""
    named = (os.environ.get(name) for name in _CERTIFICATE_VARIABLES)
    return (*filter(None, (*sys.path, sys.prefix, sys.base_prefix, *named)), *_NETWORK_FILES)


def preload(job: str) -> None:
    """Import all that `job` needs."""
    for name in PRELOADED[job]:
        if name.endswith(".*"):
            _load_package(name[:-2])
        else:
            load(name)


def load(name: str) -> None:
    """Import a module.  Raises `SandboxError` if that fails, unless the program can do without."""
    try:
        import_module(name)
    except ImportError as err:
        if name.partition(".")[0] not in _OPTIONAL:
            raise SandboxError("a module cannot be loaded", where=name, found=str(err)) from err


def _load_package(name: str) -> None:
    import pkgutil

    for module in pkgutil.iter_modules(import_module(name).__path__, f"{name}."):
        if module.name.endswith(_UNUSED):
            continue
        if module.ispkg:
            _load_package(module.name)
        else:
            load(module.name)
