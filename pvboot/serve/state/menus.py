"""Menus as content: each client gets its own under the name that it asks for; all else is the wrapped content's."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fsdrivers.api import Extent
from pvboot.errors import PvbootError
from pvboot.serve.api import Content, Requester, ServedDirectory, ServedFile
from pvboot.serve.state.history import MenuServed
from pvboot.serve.state.identity import Identity, read_identity
from pvboot.serve.state.names import MenuName, read_name
from pvboot.serve.state.registry import Assignment, Registry
from pvboot.serve.state.render import FetchContext, render

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file that exists in memory only (implements `ServedFile`)."""

    data: bytes
    content_type: str = "text/plain; charset=utf-8"

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.data)

    @property
    def mtime(self) -> float | None:
        """None: the file was made for the asker."""
        return None

    @property
    def etag(self) -> str:
        """A hash of the bytes."""
        return hashlib.sha256(self.data).hexdigest()[:32]

    def extents(self) -> Sequence[Extent]:
        """One run of bytes."""
        return (Extent(len(self.data), data=self.data),) if self.data else ()

    def close(self) -> None:
        """Do nothing: nothing is held."""


class MenuContent:
    """Implements `Content`.  Opening a menu uses up the asker's next boot, and is the beginning of a boot.

    It is used up by the opening and not by the end of the transfer: a client that gets the menu and loses the last
    acknowledgement would boot it twice otherwise, and a next boot is often an installation.  An asker whose claims say
    `peek` (HTTP's HEAD) uses up nothing.
    """

    def __init__(
        self, base: Content, registry: Registry, bases: Mapping[str, str], record: Callable[[MenuServed], None]
    ) -> None:
        self._base, self._registry, self._bases, self._record = base, registry, bases, record

    def open(self, path: str, who: Requester) -> ServedFile | ServedDirectory:
        """The menu of that name, else the wrapped content's file; errors as `Content.open`."""
        name = read_name(path, self._registry.settings.menus.path)
        menu = self._menu(path, name, who) if name is not None else None
        return menu if menu is not None else self._base.open(path, who)

    def _menu(self, path: str, name: MenuName, who: Requester) -> MadeFile | None:
        identity = asker(name, who)
        peek = bool(who.claims.get("peek"))
        assigned = self._registry.choose(identity, take=not peek, only_known=name.searched)
        if assigned is None:
            return None
        text = render(assigned.profile, name.dialect, FetchContext(who.protocol, self._bases)).text
        if not peek:
            self._save(menu_served(assigned, identity, who, name.dialect, path))
        return MadeFile(text.encode())

    def _save(self, menu: MenuServed) -> None:
        try:
            self._record(menu)
        except PvbootError as err:
            # The client is to boot even when its history cannot be written.
            _LOG.warning("boot of %s is not recorded: %s", menu.address, err)


def asker(name: MenuName, who: Requester) -> Identity:
    """The client that a menu is for: the one in its name or, unless the name is one of a search, the sender."""
    if name.searched:
        return name.named
    sent, named = read_identity(who.claims, who.address), name.named
    return sent.model_copy(update=named.model_dump(exclude_none=True))


def menu_served(assigned: Assignment, identity: Identity, who: Requester, dialect: str, path: str) -> MenuServed:
    """The beginning of a boot, for the history."""
    client = assigned.client
    mac = identity.mac or (client.mac if client else None)
    address = read_identity({}, who.address).address or who.address[:45]
    return MenuServed(
        client=client.name if client else None,
        mac=mac,
        address=address,
        protocol=who.protocol,
        dialect=dialect,
        profile=assigned.profile,
        next_boot=assigned.once,
        path=path.encode("utf-8", "backslashreplace").decode()[:1000],
    )
