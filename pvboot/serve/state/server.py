"""All of this room in one piece, as a worker process of the server uses it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from pvboot.serve.api import Content
from pvboot.serve.metrics import SharedCounters
from pvboot.serve.state import history
from pvboot.serve.state.database import Database
from pvboot.serve.state.http_api import add_api
from pvboot.serve.state.journal import StateJournal
from pvboot.serve.state.menus import MenuContent
from pvboot.serve.state.page import add_page
from pvboot.serve.state.pixiecore import PixiecoreContent
from pvboot.serve.state.pv_grub import check_files, check_prefix
from pvboot.serve.state.registry import Registry
from pvboot.serve.state.route import ApiContext
from pvboot.serve.state.settings import StateSettings

_API_THREADS = 4  # that wait for the database


class ServerState:
    """`content` wraps the base content with menus; `journal` notes transfers; `add_routes` brings API and page.

    One a process, made after the fork: several processes and servers share a database, never an object.  `bases` are
    the URLs by which clients reach this server, by protocol ("tftp", "http", "https"), as "http://192.0.2.1:8080";
    a protocol that is not served is left out.  Making one raises `StateError` (the database).
    """

    def __init__(self, settings: StateSettings, base_content: Content, bases: Mapping[str, str]) -> None:
        self._base, self._bases = base_content, {key: url.rstrip("/") for key, url in bases.items()}
        self._database = Database(settings.state)
        self._registry = Registry(self._database, settings)
        self.journal = StateJournal(self._database, settings.menus.history_boots, settings.menus.history_days)
        menus = MenuContent(base_content, self._registry, self._bases, self._record)
        self.content = PixiecoreContent(menus, self._registry, self._bases, self._record)

    def add_routes(self, application: web.Application, counters: SharedCounters) -> None:
        """Add the API and the page to the administrator's application."""
        context = ApiContext(
            self._database, self._registry, self.journal, self._base, self._bases, counters.of_protocols
        )
        add_api(application, context, ThreadPoolExecutor(_API_THREADS, thread_name_prefix="api"))
        add_page(application)

    def _record(self, menu: history.MenuServed) -> None:
        history.add_boot(self._database, menu)

    def warnings(self) -> list[str]:
        """Warnings about the configuration: missing profiles and files, PV-GRUB's limits."""
        found = [*check_prefix(self._registry.settings.menus.path), *self._registry.check_references()]
        for profile in self._registry.profiles():
            lines = check_files(profile, self._base, frozenset(self._bases))
            found += [f"profiles.{profile.name}: {line}" for line in lines]
        return found

    def check(self) -> None:
        """Raises `StateError` if the database does not answer."""
        self._registry.next_boots()

    def close(self) -> None:
        """Write what is still to be written and give everything back."""
        self.journal.close()
        self._database.close()
