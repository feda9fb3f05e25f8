"""From a configuration to what a worker serves: content, journal and the administrator's routes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pvboot.confine.fork_server import ForkServer
from pvboot.serve.api import Content, Journal
from pvboot.serve.config import Config
from pvboot.serve.content import Directory, ImageDirectory, OneImage, Part, TreeContent
from pvboot.serve.images import ImageStore

if TYPE_CHECKING:
    from aiohttp import web

    from pvboot.serve.metrics import SharedCounters
    from pvboot.serve.state.server import ServerState


def build_tree(config: Config, store: ImageStore) -> TreeContent:
    """Return all mounts of the configuration as one tree."""
    parts: dict[str, Part] = {}
    for mount in config.content:
        if mount.kind == "directory":
            parts[mount.path] = Directory(mount.target)
        elif mount.kind == "images":
            parts[mount.path] = ImageDirectory(mount.target, store, raw=mount.raw)
        elif mount.kind == "image":
            parts[mount.path] = OneImage(mount.target, store, raw=mount.raw)
        else:
            from pvboot.serve.stores import Store

            limits = config.limits.server
            parts[mount.path] = Store(mount.target, mount.options, limits.object_bytes, limits.spool_bytes)
    return TreeContent(parts)


class Assembly:
    """The content, journal and state of one worker; make it after the fork of the worker."""

    def __init__(self, config: Config, forks: ForkServer, bases: Mapping[str, str]) -> None:
        """`bases` are this server's base URLs by protocol.  Raises `PvbootError`, `FsError`."""
        self._mounts = config.content
        self.store = ImageStore(forks, config.limits.images)
        self.content: Content = build_tree(config, self.store)
        self.further: Journal | None = None
        self._state: ServerState | None = None
        if config.has_state:  # clients and profiles need a database: there is none without a key of theirs
            from pvboot.serve.state.server import ServerState

            self._state = state = ServerState(config, self.content, bases)
            self.content, self.further = state.content, state.journal

    def add_routes(self, application: web.Application, counters: SharedCounters) -> None:
        """Add the API and the page to the administrator's application, if there is a state."""
        if self._state is not None:
            self._state.add_routes(application, counters)

    def warnings(self) -> list[str]:
        """Return what is wrong though the configuration is valid: unreadable contents, profiles without files."""
        found = []
        for mount in self._mounts:
            if mount.kind != "url":
                try:
                    os.close(os.open(mount.target, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
                except OSError as err:
                    found.append(f"content {mount.path}: {mount.target} cannot be read: {err.strerror}")
        return found + ([] if self._state is None else self._state.warnings())

    def check_state(self) -> None:
        """Raise `PvbootError` if the state cannot be read."""
        if self._state is not None:
            self._state.check()

    def close(self) -> None:
        """Write what is still to be written, and close the state."""
        if self._state is not None:
            self._state.close()
