"""What the HTTP API offers: one table of routes, from which requests are answered and the OpenAPI document is made."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pvboot
from pvboot.serve.api import Content, Response
from pvboot.serve.state import clients, history, limits, profiles
from pvboot.serve.state.database import Database
from pvboot.serve.state.errors import InexpressibleError, UnknownRecordError
from pvboot.serve.state.journal import StateJournal
from pvboot.serve.state.names import DIALECTS
from pvboot.serve.state.problems import ApiError, json_response
from pvboot.serve.state.registry import NextBoot, Registry, StoredProfile
from pvboot.serve.state.render import Place, render

_LIST_LIMIT = 1000
_TEMPLATE_PART = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class World:
    """What the routes answer from.  `bases` are the server's base URLs by protocol."""

    database: Database
    registry: Registry
    journal: StateJournal
    content: Content
    bases: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a route: `names` fills the template, `version` is If-Match's (None: not asked for)."""

    world: World
    names: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    body: Any
    version: int | None


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is a template; `body` and `reply` are names of schemas, `reply` None answers without a body (204)."""

    method: str
    path: str
    name: str
    summary: str
    call: Callable[[Call], Response]
    reply: str | None = None
    body: str | None = None
    query: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    versioned: bool = False  # answers with an ETag; takes If-Match when it writes

    @property
    def writes(self) -> bool:
        """Whether a token is needed whatever the configuration says."""
        return self.method != "GET"

    def match(self, path: str) -> dict[str, str] | None:
        """The names in a path of this template, else None."""
        pattern = _TEMPLATE_PART.sub(r"(?P<\1>[^/]+)", re.escape(self.path).replace(r"\{", "{").replace(r"\}", "}"))
        found = re.fullmatch(pattern, path, re.DOTALL)
        return None if found is None else found.groupdict()

    @property
    def parameters(self) -> list[str]:
        """The names in the template."""
        return _TEMPLATE_PART.findall(self.path)


# --- clients ----------------------------------------------------------------------------------------------


def _list_clients(call: Call) -> Response:
    registry, limit = call.world.registry, _limit(call)
    found = registry.clients(call.query.get("after", [""])[0], limit + 1)
    waiting, known = registry.next_boots(), {stored.profile.name: stored for stored in registry.profiles()}
    items = [_client(call.world, client, waiting.get(client.name), known) for client in found[:limit]]
    return json_response(200, {"items": items, "next": items[-1]["name"] if len(found) > limit else None})


def _get_client(call: Call) -> Response:
    return _answer_client(call.world, call.world.registry.client(call.names["client"]), 200)


def _answer_client(world: World, client: clients.Client, status: int) -> Response:
    known = {stored.profile.name: stored for stored in world.registry.profiles()}
    view = _client(world, client, world.registry.next_boot(client.name), known)
    return json_response(status, view, _etag(client.version))


def _client(
    world: World, client: clients.Client, waiting: NextBoot | None, known: Mapping[str, StoredProfile]
) -> dict[str, Any]:
    return {
        "name": client.name,
        **clients.describe(client),
        "source": client.source,
        "version": client.version,
        "next_boot": None if waiting is None else asdict(waiting),
        "would_boot": _would_boot(world, client, waiting, known),
    }


def _would_boot(
    world: World, client: clients.Client, waiting: NextBoot | None, known: Mapping[str, StoredProfile]
) -> dict[str, Any]:
    """The same choice as `Registry.choose` makes, from what is already at hand."""
    name = waiting.profile if waiting else client.profile or world.registry.settings.default_profile
    nothing = {"profile": name, "once": waiting is not None, "title": None, "kernel": None, "problem": None}
    if not client.enabled:
        return {**nothing, "profile": None, "once": False, "title": "Local disk"}
    if name is None:
        return {**nothing, "problem": "no profile of its own, and no default profile"}
    if name not in known:
        return {**nothing, "problem": f"there is no profile {name!r}"}
    profile = known[name].profile
    entry = profile.entries[profile.default]
    return {**nothing, "title": entry.title, "kernel": entry.kernel}


def _put_client(call: Call) -> Response:
    name = call.names["client"]
    client = clients.read_client(name, call.body, "client", "api")
    stored = call.world.registry.put_client(client, call.version)
    return _answer_client(call.world, stored, 201 if stored.version == 1 else 200)


def _delete_client(call: Call) -> Response:
    call.world.registry.delete_client(call.names["client"], call.version)
    return Response(204)


def _get_next_boot(call: Call) -> Response:
    client = call.world.registry.client(call.names["client"])
    waiting = call.world.registry.next_boot(client.name)
    if waiting is None:
        raise UnknownRecordError("no next boot is set", found=ascii(client.name))
    return json_response(200, asdict(waiting))


def _put_next_boot(call: Call) -> Response:
    body = call.body
    if not isinstance(body, Mapping) or set(body) != {"profile"} or not isinstance(body["profile"], str):
        raise ApiError(422, 'expected {"profile": NAME}')
    return json_response(200, asdict(call.world.registry.set_next_boot(call.names["client"], body["profile"])))


def _delete_next_boot(call: Call) -> Response:
    if not call.world.registry.clear_next_boot(call.names["client"]):
        raise UnknownRecordError("no next boot is set", found=ascii(call.names["client"]))
    return Response(204)


# --- profiles ---------------------------------------------------------------------------------------------


def _list_profiles(call: Call) -> Response:
    return json_response(200, {"items": [_profile(stored) for stored in call.world.registry.profiles()]})


def _get_profile(call: Call) -> Response:
    return _answer_profile(call.world, call.world.registry.profile(call.names["profile"]), 200)


def _profile(stored: StoredProfile) -> dict[str, Any]:
    named = {"name": stored.profile.name, **profiles.describe(stored.profile)}
    return {**named, "source": stored.source, "version": stored.version}


def _answer_profile(world: World, stored: StoredProfile, status: int) -> Response:
    warnings = list(limits.check_files(stored.profile, world.content, frozenset(world.bases)))
    return json_response(status, {**_profile(stored), "warnings": warnings}, _etag(stored.version))


def _put_profile(call: Call) -> Response:
    profile = profiles.read_profile(call.names["profile"], call.body, "profile")
    stored = call.world.registry.put_profile(profile, call.version)
    return _answer_profile(call.world, stored, 201 if stored.version == 1 else 200)


def _delete_profile(call: Call) -> Response:
    call.world.registry.delete_profile(call.names["profile"], call.version)
    return Response(204)


def _get_menus(call: Call) -> Response:
    profile = call.world.registry.profile(call.names["profile"]).profile
    return json_response(200, {dialect: _menu(call.world, profile, dialect) for dialect in DIALECTS})


def _menu(world: World, profile: profiles.Profile, dialect: str) -> dict[str, Any]:
    """As a client over HTTP gets it, or over TFTP if the server or the dialect has no HTTP."""
    known = {"grub.cfg": ("http",), "ipxe": ("http", "https")}.get(dialect, ())
    protocol = next((one for one in known if one in world.bases), "tftp")
    try:
        menu = render(profile, dialect, Place(protocol, world.bases))
    except InexpressibleError as err:
        return {"text": None, "problem": str(err), "warnings": []}
    return {"text": menu.text, "problem": None, "warnings": list(menu.warnings)}


# --- what happens -----------------------------------------------------------------------------------------


def _list_boots(call: Call) -> Response:
    client = call.query["client"][0] if "client" in call.query else None
    return json_response(200, {"items": history.boots(call.world.database, client=client, limit=_limit(call))})


def _limit(call: Call) -> int:
    limit = call.query.get("limit", ["100"])[0]
    if not re.fullmatch(r"[1-9][0-9]{0,3}", limit) or int(limit) > _LIST_LIMIT:
        raise ApiError(400, f"limit is no number from 1 to {_LIST_LIMIT}")
    return int(limit)


def _list_transfers(call: Call) -> Response:
    live = history.live_transfers(call.world.database)
    finished = history.finished_transfers(call.world.database)
    rows = {"live": [asdict(one) for one in live], "finished": [asdict(one) for one in finished]}
    return json_response(200, {"now": time.time(), **rows})


def _get_server(call: Call) -> Response:
    world, settings = call.world, call.world.registry.settings
    warnings = [*limits.check_prefix(settings.menus), *world.registry.check_references()]
    return json_response(
        200,
        {
            "version": pvboot.__version__,
            "process": world.journal.process,
            "menus": settings.menus,
            "default_profile": settings.default_profile,
            "protocols": sorted(world.bases),
            "writable": settings.write_token is not None,
            "warnings": warnings,
            "counters": world.journal.counters(),
        },
    )


def _get_openapi(call: Call) -> Response:
    from pvboot.serve.state.openapi import document

    return json_response(200, document())


def _etag(version: int) -> dict[str, str]:
    return {"ETag": f'"{version}"'}


_LIMIT = {"limit": {"type": "integer", "minimum": 1, "maximum": _LIST_LIMIT, "default": 100}}
_CLIENT, _PROFILE = "/api/v1/clients/{client}", "/api/v1/profiles/{profile}"
_NEXT_BOOT = f"{_CLIENT}/next-boot"

OPENAPI_PATH = "/api/v1/openapi.json"

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/api/v1/clients",
        "listClients",
        "Clients by name, and what each would boot",
        _list_clients,
        "ClientList",
        query={**_LIMIT, "after": {"type": "string"}},
    ),
    Route("GET", _CLIENT, "getClient", "One client", _get_client, "Client", versioned=True),
    Route("PUT", _CLIENT, "putClient", "Make or replace a client", _put_client, "Client", "ClientBody", versioned=True),
    Route("DELETE", _CLIENT, "deleteClient", "Forget a client and its next boot", _delete_client, versioned=True),
    Route("GET", _NEXT_BOOT, "getNextBoot", "What waits for one boot", _get_next_boot, "NextBoot"),
    Route("PUT", _NEXT_BOOT, "setNextBoot", "Boot a profile once", _put_next_boot, "NextBoot", "NextBootBody"),
    Route("DELETE", _NEXT_BOOT, "clearNextBoot", "Boot as usual again", _delete_next_boot),
    Route("GET", "/api/v1/profiles", "listProfiles", "All profiles", _list_profiles, "ProfileList"),
    Route(
        "GET",
        _PROFILE,
        "getProfile",
        "One profile, with warnings about its files",
        _get_profile,
        "Profile",
        versioned=True,
    ),
    Route(
        "PUT",
        _PROFILE,
        "putProfile",
        "Make or replace a profile",
        _put_profile,
        "Profile",
        "ProfileBody",
        versioned=True,
    ),
    Route("DELETE", _PROFILE, "deleteProfile", "Forget a profile that nobody needs", _delete_profile, versioned=True),
    Route("GET", f"{_PROFILE}/menus", "getMenus", "The profile in each dialect", _get_menus, "Menus"),
    Route(
        "GET",
        "/api/v1/boots",
        "listBoots",
        "The last boots, the newest first",
        _list_boots,
        "BootList",
        query={**_LIMIT, "client": {"type": "string"}},
    ),
    Route(
        "GET",
        "/api/v1/transfers",
        "listTransfers",
        "Transfers under way and the last that ended",
        _list_transfers,
        "Transfers",
    ),
    Route("GET", "/api/v1/server", "getServer", "About this server", _get_server, "Server"),
    Route("GET", OPENAPI_PATH, "getOpenapi", "This description", _get_openapi, ""),
)
