"""The routes of the HTTP API: one table, from which requests are answered and the OpenAPI document is made."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp.web import Response

import pvboot
from pvboot.serve.state import history
from pvboot.serve.state import schemas as models
from pvboot.serve.state.clients import Client, ClientBody, named_client
from pvboot.serve.state.errors import InexpressibleError, UnknownRecordError
from pvboot.serve.state.names import DIALECTS
from pvboot.serve.state.openapi import document
from pvboot.serve.state.problems import ApiError, json_response
from pvboot.serve.state.profiles import LOCAL, Profile, ProfileBody, named_profile
from pvboot.serve.state.pv_grub import check_files, check_prefix
from pvboot.serve.state.render import FetchContext, render
from pvboot.serve.state.route import ApiContext, ApiRequest, Route, RouteFunction

_LIST_LIMIT = 1000
_LIMIT: dict[str, Any] = {"limit": {"type": "integer", "minimum": 1, "maximum": _LIST_LIMIT, "default": 100}}
_PAGE, _OF_CLIENT = _LIMIT | {"after": {"type": "string"}}, _LIMIT | {"client": {"type": "string"}}
_API = "/api/v1"
_CLIENT, _PROFILE = f"{_API}/clients/{{client}}", f"{_API}/profiles/{{profile}}"
_NEXT_BOOT = f"{_CLIENT}/next-boot"

OPENAPI_PATH = f"{_API}/openapi.json"
ROUTES: list[Route] = []


def _route(
    method: str, path: str, name: str, summary: str, *models: Any, **more: Any
) -> Callable[[RouteFunction], RouteFunction]:
    """Return a decorator that adds a function to the table; the arguments are those of `Route`."""

    def add(call: RouteFunction) -> RouteFunction:
        ROUTES.append(Route(method, path, name, summary, call, *models, **more))
        return call

    return add


# --- clients ----------------------------------------------------------------------------------------------


@_route(
    "GET", f"{_API}/clients", "listClients", "Clients by name, and what each would boot", models.ClientList, query=_PAGE
)
def _list_clients(request: ApiRequest) -> Response:
    registry, limit = request.context.registry, _limit(request)
    found = registry.clients(request.query.get("after", [""])[0], limit + 1)
    waiting, known = registry.next_boots(), {profile.name: profile for profile in registry.profiles()}
    items = tuple(_client(request.context, client, waiting.get(client.name), known) for client in found[:limit])
    return json_response(200, models.ClientList(items=items, next=items[-1].name if len(found) > limit else None))


@_route("GET", _CLIENT, "getClient", "One client", models.Client, versioned=True)
def _get_client(request: ApiRequest) -> Response:
    return _answer_client(request.context, request.context.registry.client(request.names["client"]), 200)


def _answer_client(context: ApiContext, client: Client, status: int) -> Response:
    known = {profile.name: profile for profile in context.registry.profiles()}
    reply = _client(context, client, context.registry.next_boot(client.name), known)
    return json_response(status, reply, _etag(client.version))


def _client(
    context: ApiContext, client: Client, waiting: models.NextBoot | None, known: Mapping[str, Profile]
) -> models.Client:
    would_boot = _would_boot(context, client, waiting, known)
    return models.Client.model_construct(**client.__dict__, next_boot=waiting, would_boot=would_boot)


def _would_boot(
    context: ApiContext, client: Client, waiting: models.NextBoot | None, known: Mapping[str, Profile]
) -> models.WouldBoot:
    """The same assignment as `Registry.choose` makes, from what is already at hand."""
    if not client.enabled:
        return models.WouldBoot(profile=None, title=LOCAL.title)
    name, once = waiting.profile if waiting else client.profile or context.registry.settings.default, bool(waiting)
    if name is None:
        return models.WouldBoot(profile=None, once=once, problem="no profile of its own, and no default profile")
    if name not in known:
        return models.WouldBoot(profile=name, once=once, problem=f"there is no profile {name!r}")
    entry = known[name].entries[known[name].default]
    return models.WouldBoot(profile=name, once=once, title=entry.title, kernel=entry.kernel or None)


@_route("PUT", _CLIENT, "putClient", "Make or replace a client", models.Client, ClientBody, versioned=True)
def _put_client(request: ApiRequest) -> Response:
    client = named_client(request.names["client"], request.body, "api")
    stored = request.context.registry.put_client(client, request.version)
    return _answer_client(request.context, stored, 201 if stored.version == 1 else 200)


@_route("DELETE", _CLIENT, "deleteClient", "Forget a client and its next boot", versioned=True)
def _delete_client(request: ApiRequest) -> Response:
    request.context.registry.delete_client(request.names["client"], request.version)
    return Response(status=204)


@_route("GET", _NEXT_BOOT, "getNextBoot", "What waits for one boot", models.NextBoot)
def _get_next_boot(request: ApiRequest) -> Response:
    client = request.context.registry.client(request.names["client"])
    waiting = request.context.registry.next_boot(client.name)
    if waiting is None:
        raise UnknownRecordError("no next boot is set", found=ascii(client.name))
    return json_response(200, waiting)


@_route("PUT", _NEXT_BOOT, "setNextBoot", "Boot a profile once", models.NextBoot, models.NextBootBody)
def _put_next_boot(request: ApiRequest) -> Response:
    return json_response(200, request.context.registry.set_next_boot(request.names["client"], request.body.profile))


@_route("DELETE", _NEXT_BOOT, "clearNextBoot", "Boot as usual again")
def _delete_next_boot(request: ApiRequest) -> Response:
    if not request.context.registry.clear_next_boot(request.names["client"]):
        raise UnknownRecordError("no next boot is set", found=ascii(request.names["client"]))
    return Response(status=204)


# --- profiles ---------------------------------------------------------------------------------------------


@_route("GET", f"{_API}/profiles", "listProfiles", "All profiles", models.ProfileList)
def _list_profiles(request: ApiRequest) -> Response:
    items = tuple(models.ProfileSummary(**profile.__dict__) for profile in request.context.registry.profiles())
    return json_response(200, models.ProfileList(items=items))


@_route("GET", _PROFILE, "getProfile", "One profile, with warnings about its files", models.Profile, versioned=True)
def _get_profile(request: ApiRequest) -> Response:
    return _answer_profile(request.context, request.context.registry.profile(request.names["profile"]), 200)


def _answer_profile(context: ApiContext, profile: Profile, status: int) -> Response:
    warnings = check_files(profile, context.content, frozenset(context.bases))
    return json_response(status, models.Profile(**profile.__dict__, warnings=warnings), _etag(profile.version))


@_route("PUT", _PROFILE, "putProfile", "Make or replace a profile", models.Profile, ProfileBody, versioned=True)
def _put_profile(request: ApiRequest) -> Response:
    profile = named_profile(request.names["profile"], request.body, "api")
    stored = request.context.registry.put_profile(profile, request.version)
    return _answer_profile(request.context, stored, 201 if stored.version == 1 else 200)


@_route("DELETE", _PROFILE, "deleteProfile", "Forget a profile that nobody needs", versioned=True)
def _delete_profile(request: ApiRequest) -> Response:
    request.context.registry.delete_profile(request.names["profile"], request.version)
    return Response(status=204)


@_route("GET", f"{_PROFILE}/menus", "getMenus", "The profile in each dialect", models.Menus)
def _get_menus(request: ApiRequest) -> Response:
    profile = request.context.registry.profile(request.names["profile"])
    menus = {dialect: _menu(request.context, profile, dialect) for dialect in DIALECTS}
    return json_response(200, models.Menus.model_validate(menus))


def _menu(context: ApiContext, profile: Profile, dialect: str) -> models.Menu:
    """The menu that a client gets over HTTP, or over TFTP if the server or the dialect has no HTTP."""
    known = {"grub.cfg": ("http",), "ipxe": ("http", "https")}.get(dialect, ())
    protocol = next((one for one in known if one in context.bases), "tftp")
    try:
        menu = render(profile, dialect, FetchContext(protocol, context.bases))
    except InexpressibleError as err:
        return models.Menu(problem=str(err))
    return models.Menu(text=menu.text, warnings=menu.warnings)


# --- what happens -----------------------------------------------------------------------------------------


@_route("GET", f"{_API}/boots", "listBoots", "The last boots, the newest first", models.BootList, query=_OF_CLIENT)
def _list_boots(request: ApiRequest) -> Response:
    client = request.query["client"][0] if "client" in request.query else None
    items = history.boots(request.context.database, client=client, limit=_limit(request))
    return json_response(200, models.BootList(items=tuple(items)))


def _limit(request: ApiRequest) -> int:
    limit = request.query.get("limit", ["100"])[0]
    if not re.fullmatch(r"[1-9][0-9]{0,3}", limit) or int(limit) > _LIST_LIMIT:
        raise ApiError(400, f"limit is not a number from 1 to {_LIST_LIMIT}")
    return int(limit)


@_route("GET", f"{_API}/transfers", "listTransfers", "Transfers under way and the last that ended", models.Transfers)
def _list_transfers(request: ApiRequest) -> Response:
    live = tuple(history.live_transfers(request.context.database))
    finished = tuple(history.finished_transfers(request.context.database))
    return json_response(200, models.Transfers(now=time.time(), live=live, finished=finished))


@_route("GET", f"{_API}/server", "getServer", "About this server", models.Server)
def _get_server(request: ApiRequest) -> Response:
    context, settings = request.context, request.context.registry.settings
    server = models.Server(
        version=pvboot.__version__,
        process=context.journal.process,
        menus=settings.menus.path,
        default_profile=settings.default,
        protocols=tuple(sorted(context.bases)),
        writable=settings.api.writer is not None,
        warnings=(*check_prefix(settings.menus.path), *context.registry.check_references()),
        counters=context.counters(),
    )
    return json_response(200, server)


@_route("GET", OPENAPI_PATH, "getOpenapi", "This description", dict)
def _get_openapi(_request: ApiRequest) -> Response:
    return json_response(200, document(ROUTES))


def _etag(version: int) -> dict[str, str]:
    return {"ETag": f'"{version}"'}
