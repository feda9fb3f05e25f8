"""From a configuration to what a worker serves: content, handlers and journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pvboot.net.serve.api import Content, Handler, Journal
from pvboot.net.serve.config import Config
from pvboot.net.serve.content import Directory, ImageDirectory, OneImage, Part, TreeContent
from pvboot.net.serve.images import ImageStore
from pvboot.net.serve.nursery import Nursery

if TYPE_CHECKING:
    from pvboot.net.serve.state.database import Database


def build_tree(config: Config, store: ImageStore) -> TreeContent:
    """All mounts of the configuration."""
    parts: dict[str, Part] = {}
    for mount in config.mounts:
        if mount.kind == "directory":
            parts[mount.path] = Directory(mount.target)
        elif mount.kind == "images":
            parts[mount.path] = ImageDirectory(mount.target, store, raw=mount.raw)
        elif mount.kind == "image":
            parts[mount.path] = OneImage(mount.target, store, raw=mount.raw)
        else:
            from pvboot.net.serve.stores import Store

            limits = config.server_limits
            parts[mount.path] = Store(mount.target, mount.options, limits.object_bytes, limits.spool_bytes)
    return TreeContent(parts)


class Assembly:
    """What one worker serves; `close` ends what it holds.  Made after the fork of the worker."""

    def __init__(self, config: Config, nursery: Nursery, bases: Mapping[str, str]) -> None:
        """`bases` are this server's base URLs by protocol.  Raises `PvbootError`, `FsError`."""
        self.store = ImageStore(nursery, config.image_limits)
        self.content: Content = build_tree(config, self.store)
        self.handlers: list[Handler] = []
        self.further: Journal | None = None
        self._database: Database | None = None
        if config.tables:
            self._add_state(config, bases)

    def _add_state(self, config: Config, bases: Mapping[str, str]) -> None:
        """Clients, profiles and history: only with a table of theirs, for they need a database."""
        from pvboot.net.serve.state import history, settings
        from pvboot.net.serve.state.database import Database
        from pvboot.net.serve.state.journal import StateJournal
        from pvboot.net.serve.state.menus import MenuContent
        from pvboot.net.serve.state.registry import Registry

        known = settings.load(config.tables)
        database = self._database = Database(known.database)
        registry = Registry(database, known)
        self.further = self._journal = StateJournal(database, known.history_limit, known.history_days)
        self.content = MenuContent(self.content, registry, bases, lambda given: history.add_boot(database, given))

    def check_state(self) -> None:
        """Raises `PvbootError` if the state cannot be read."""
        if self._database is not None:
            with self._database.reading():
                pass

    def close(self) -> None:
        """Write what is still to be written."""
        if self._database is not None:
            self._journal.close()
            self._database.close()
