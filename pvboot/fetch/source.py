"""What the URLs that the user names turn out to be: images, a menu, directories; and the devices made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from fsdrivers.blocks import LoopSource, container_name
from fsdrivers.directory import HostFile
from fsdrivers.errors import Unsupported
from pvboot.device_names import Device
from pvboot.devices import Devices, Disk, FetchedMenu, check_number, is_fetched, is_menu_file, open_local_disk
from pvboot.fetch.fetch import Fetcher, known
from pvboot.fetch.network import Network
from pvboot.fetch.settings import NetSettings
from pvboot.fetch.tree import NO_HEAD, UrlFilesystem
from pvboot.fetch.urls import parse_url

if TYPE_CHECKING:
    from fsdrivers.api import BlockSource
    from pvboot.fetch.urls import Url

MENU_LIMIT_BYTES: Final = 1 << 20
DOWNLOAD_LIMIT_BYTES: Final = 256 << 20  # of an image that its server does not give in parts


@dataclass(frozen=True, slots=True)
class NetOptions:
    """`urls` are the servers that menus may use beside those of the sources; the first of all is `(nd)`."""

    urls: tuple[str, ...] = ()
    settings: NetSettings = field(default_factory=NetSettings)


def open_remote_devices(source: str, disks: Sequence[str], net: NetOptions | None) -> Devices:
    """`open_devices` where a URL is among the sources, or a menu may use the network."""
    net = net or NetOptions()
    allowed = [parse_url(url) for url in net.urls]
    urls = {name: parse_url(name) for name in (source, *disks) if is_fetched(name)}
    fetcher = Fetcher(net.settings)
    opened: list[Disk] = []
    try:
        first = open_source(fetcher, urls[source]) if source in urls else None
        if isinstance(first, UrlFilesystem):
            urls[source] = first.base  # perhaps with the slash that was forgotten
        # What the user says about (nd) comes before what the source suggests.
        named = [*allowed, *urls.values()]
        network = Network(fetcher, named) if named else None
        menu = menu_file = None
        if isinstance(first, HostFile):
            guest = None if disks else guest_tree(urls[source])
            if guest is None:
                menu = _place_menu(network, urls[source], first)
            else:
                tree = UrlFilesystem(fetcher, guest)
                path = tree.place(urls[source], first)
                assert path is not None
                opened.append(_as_disk(str(guest), tree))
                menu = FetchedMenu(Device("hd", 0), path, first)
        elif first is not None:
            opened.append(_as_disk(source, first))
        elif is_menu_file(source):
            menu_file = source
        else:
            opened.append(open_local_disk(source))
        check_number(len(opened) + len(disks))
        for name in disks:
            remote = name in urls
            opened.append(_as_disk(name, open_disk(fetcher, urls[name])) if remote else open_local_disk(name))
        if isinstance(first, UrlFilesystem) and network is not None:
            network.adopt(first)
        return Devices(opened, source_name=_printed(source), menu_file=menu_file, fetched_menu=menu, network=network)
    except BaseException:
        Devices(opened).close()
        fetcher.close()
        raise


def _printed(source: str) -> str:
    return str(parse_url(source)) if is_fetched(source) else source


def _as_disk(name: str, found: UrlFilesystem | BlockSource) -> Disk:
    if isinstance(found, UrlFilesystem):
        return Disk(_printed(name), filesystem=found)
    return Disk(_printed(name), found)


def guest_tree(url: Url) -> Url | None:
    """The directory that stands for a guest's disk, where a menu has one of the usual names in it.

    What `.../boot/grub/menu.lst` calls `(hd0,0)` is there.
    """
    from pvboot.menu.dialects import search_order

    names = [name for _dialect, name in search_order() if "*" not in name and not name.endswith("/")]
    for name in sorted(names, key=len, reverse=True):
        if url.path.endswith(name) and name.count("/") > 1:
            return replace(url, path=url.path[: -len(name)] + "/", query="", checksum=None)
    return None


def _place_menu(network: Network | None, url: Url, file: HostFile) -> FetchedMenu:
    """Where a menu that was fetched stands: on `(nd)` if it is below that, else nowhere."""
    assert network is not None
    path = network.base().place(url, file)
    return FetchedMenu(None, str(url), file) if path is None else FetchedMenu(Device("nd"), path, file)


def open_disk(fetcher: Fetcher, url: Url) -> UrlFilesystem | BlockSource:
    """A directory URL as a file system, any other as a disk image.  Raises `FsError`, `NetworkError`."""
    found = open_source(fetcher, url)
    return LoopSource(found, str(url)) if isinstance(found, HostFile) else found


def open_source(fetcher: Fetcher, url: Url) -> UrlFilesystem | BlockSource | HostFile:
    """As `open_disk`, but a menu (small text, see `is_menu`) is given as a file."""
    if url.is_directory:
        return UrlFilesystem(fetcher, url)
    url = known(url, fetcher.settings)
    if url.scheme != "tftp" and url.checksum is None:
        size = _ask_size(fetcher, url)
        if size is None:
            return UrlFilesystem(fetcher, replace(url, path=url.path + "/"))
        if size > MENU_LIMIT_BYTES:
            return _open_image(fetcher, url)
    limit = fetcher.settings.file_limit_bytes if url.checksum else DOWNLOAD_LIMIT_BYTES
    file = fetcher.fetch(url, limit_bytes=limit)
    return file if is_menu(file) else _checked(LoopSource(file, str(url)))


def is_menu(file: HostFile) -> bool:
    """Whether a fetched file is text of at most 1 MiB: it has no NUL, and every disk image has."""
    return 0 < file.size <= MENU_LIMIT_BYTES and b"\0" not in file.read_at(0, file.size)


def _ask_size(fetcher: Fetcher, url: Url) -> int | None:
    """The size of a file, 0 if the server does not tell; None for a directory whose slash was forgotten."""
    from pvboot.fetch.http_client import REDIRECTS, redirect_target
    from pvboot.fetch.http_file import check_status

    with fetcher.http.request("HEAD", url, follow=False) as answer:
        redirected = answer.status in REDIRECTS
        if redirected and redirect_target(answer).path == url.path + "/":
            return None
    if redirected:
        with fetcher.http.request("HEAD", url) as answer:
            pass
    if answer.status in NO_HEAD:
        return 0
    check_status(answer, url)
    return answer.size or 0


def _open_image(fetcher: Fetcher, url: Url) -> BlockSource:
    from pvboot.fetch.image import HttpRangeSource, NoRangesError

    try:
        return _checked(HttpRangeSource(fetcher, url))
    except NoRangesError:
        return _checked(LoopSource(fetcher.fetch(url, limit_bytes=DOWNLOAD_LIMIT_BYTES), str(url)))


def _checked(source: BlockSource) -> BlockSource:
    """Raises `Unsupported` for containers, whose bytes are not the disk's."""
    container = container_name(source)
    if container is not None:
        source.close()
        raise Unsupported(
            f"the source is a {container}, which is not read yet",
            where=source.name,
            expected="a raw disk image",
            found=container,
        )
    return source
