"""The kinds of SOURCE (a menu, a disk, a directory, or the URL of one), and the guest made of them.

Nothing else decides that.  A name with a scheme is a URL; `pvboot.fetch` is imported when a boot server's is met.  A
small text is a menu wherever it lies; everything else is a disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from fsdrivers.light import TYPE_CHECKING, Final
from pvboot.device_names import MAXIMUM_DRIVES
from pvboot.devices import Devices, Disk, NamedMenu
from pvboot.errors import PvbootError
from pvboot.menu.dialects import search_order

if TYPE_CHECKING:
    from fsdrivers.api import File
    from pvboot.fetch.settings import NetOptions
    from pvboot.fetch.source import Servers

MENU_LIMIT_BYTES: Final = 8 << 20  # of a text that is taken for a menu; loaders read far less
HEAD_BYTES: Final = 64 << 10  # of a file tell what it is
SERVER_SCHEMES: Final = ("http", "https", "tftp")

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CONTROLS: Final = bytes(set(range(0x20)) - set(b"\t\n\f\r"))
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def scheme_of(name: str) -> str | None:
    """The scheme of a URL in lower case, None for the name of a file."""
    found = _SCHEME.match(name)
    return found[1].lower() if found else None


def is_url(name: str) -> bool:
    """Whether a source is a URL: that of a boot server, or of an object in a store (`s3://` ...)."""
    return scheme_of(name) is not None


def is_on_server(name: str) -> bool:
    """Whether a source is a URL that `pvboot.fetch` asks for; all others are fsspec's."""
    return scheme_of(name) in SERVER_SCHEMES


def has_menu_name(path: str) -> bool:
    """Whether the last part of a path is the name of a menu in a guest."""
    name = path.rpartition("/")[2].lower()
    return any(name == known.rpartition("/")[2] for _dialect, known in search_order() if not known.endswith("/"))


def is_menu(head: bytes, size: int, name: str) -> bool:
    """Whether a file of `size` bytes that begins with `head` is a menu, even if it holds what no menu should.

    It has a menu's name, or hardly any control characters, or is UTF-16; a disk image has zeros.
    """
    if size > MENU_LIMIT_BYTES:
        return False
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return has_menu_name(name) or head.startswith(_UTF16_MARKS) or controls <= len(head) // 32


def open_devices(source: str, disks: Sequence[str] = (), net: NetOptions | None = None) -> Devices:
    """The guest whose first disk is `source` and whose further ones are `disks`.

    A menu is not a disk, so that the first of `disks` then becomes hd0.  `net` says which servers menus may use beside
    those of the sources, and how.  Raises `PvbootError`.
    """
    opened: list[Disk] = []
    servers = network = menu = None
    on_servers = [name for name in (source, *disks) if is_on_server(name)]
    if net is not None or on_servers:
        from pvboot.fetch.source import Servers

        servers = Servers(net, on_servers)
    try:
        file = _local_menu(source)
        if file is None:
            opened.append(_open_disk(source, servers))
            file = _fetched_menu(source, opened[0])
        network = servers.network() if servers is not None else None
        if file is not None:
            opened.clear()
            menu = NamedMenu(None, source, file)
            if servers is not None and is_on_server(source):
                device, path, tree = servers.place(source, file, None if disks else _root_of(servers.urls[source].path))
                menu = NamedMenu(device, path, file, on_server=True)
                opened += [tree] if tree is not None else []
        count = len(opened) + len(disks)
        if count > MAXIMUM_DRIVES:
            raise PvbootError("too many disks", expected=f"at most {MAXIMUM_DRIVES}", found=str(count))
        for name in disks:
            opened.append(_open_disk(name, servers))
        _refuse_containers(opened)
    except BaseException:
        Devices(opened).close()
        if servers is not None:
            servers.close()
        raise
    return Devices(opened, source_name=servers.printed(source) if servers else source, menu=menu, network=network)


def _open_disk(name: str, servers: Servers | None) -> Disk:
    """A source as a disk, whatever its bytes look like.  Raises `PvbootError`."""
    if servers is not None and is_on_server(name):
        return servers.open(name)
    if is_url(name):
        from fsdrivers.remote import open_remote

        return Disk(name, open_remote(name))
    if os.path.isdir(name):
        from fsdrivers.directory import DirectoryFilesystem

        return Disk(name, filesystem=DirectoryFilesystem(name))
    from fsdrivers.blocks import open_source

    return Disk(name, open_source(name))


def _refuse_containers(disks: Sequence[Disk]) -> None:
    """Raise `Unsupported` for those that are fetched; opening a local one tells."""
    for disk in disks:
        if disk.source is not None and is_url(disk.name):
            from fsdrivers.blocks import refuse_container

            refuse_container(disk.source)


def _local_menu(name: str) -> File | None:
    """The local file if it is a menu; what stops it from being read is told when it is opened as a disk."""
    if not os.path.isfile(name) or os.path.getsize(name) > MENU_LIMIT_BYTES:
        return None
    from fsdrivers.blocks import FileSource
    from fsdrivers.directory import HostFile

    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    file = HostFile(name, FileSource(fd, name, os.fstat(fd).st_size))
    return file if is_menu(file.read_at(0, HEAD_BYTES), file.size, name) else None


def _fetched_menu(name: str, disk: Disk) -> File | None:
    """The file behind a URL if it is a menu."""
    blocks = disk.source
    if blocks is None or not is_url(name):
        return None
    if not is_menu(blocks.read_at(0, min(blocks.size, HEAD_BYTES)), blocks.size, name):
        return None
    from fsdrivers.blocks import SourceFile

    return SourceFile(blocks)


def _root_of(path: str) -> str | None:
    """The directory that stands for a guest's disk, where a menu has one of the usual names in it.

    What `.../boot/grub/menu.lst` calls `(hd0,0)` is there.
    """
    names = [name for _dialect, name in search_order() if "*" not in name and not name.endswith("/")]
    for name in sorted(names, key=len, reverse=True):
        if path.endswith(name) and name.count("/") > 1:
            return path[: -len(name)] + "/"
    return None
