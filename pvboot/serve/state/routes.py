"""The routes of the HTTP API: one table, from which requests are answered and the OpenAPI document is made."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

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
from pvboot.serve.state.route import ApiContext, ApiRequest, Route

_LIST_LIMIT = 1000


# --- clients ----------------------------------------------------------------------------------------------


def _list_clients(request: ApiRequest) -> Response:
    registry, limit = request.context.registry, _limit(request)
    found = registry.clients(request.query.get("after", [""])[0], limit + 1)
    waiting, known = registry.next_boots(), {profile.name: profile for profile in registry.profiles()}
    items = tuple(_client(request.context, client, waiting.get(client.name), known) for client in found[:limit])
    return json_response(200, models.ClientList(items=items, next=items[-1].name if len(found) > limit else None))


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


def _put_client(request: ApiRequest) -> Response:
    client = named_client(request.names["client"], request.body, "api")
    stored = request.context.registry.put_client(client, request.version)
    return _answer_client(request.context, stored, 201 if stored.version == 1 else 200)


def _delete_client(request: ApiRequest) -> Response:
    request.context.registry.delete_client(request.names["client"], request.version)
    return Response(status=204)


def _get_next_boot(request: ApiRequest) -> Response:
    client = request.context.registry.client(request.names["client"])
    waiting = request.context.registry.next_boot(client.name)
    if waiting is None:
        raise UnknownRecordError("no next boot is set", found=ascii(client.name))
    return json_response(200, waiting)


def _put_next_boot(request: ApiRequest) -> Response:
    return json_response(200, request.context.registry.set_next_boot(request.names["client"], request.body.profile))


def _delete_next_boot(request: ApiRequest) -> Response:
    if not request.context.registry.clear_next_boot(request.names["client"]):
        raise UnknownRecordError("no next boot is set", found=ascii(request.names["client"]))
    return Response(status=204)


# --- profiles ---------------------------------------------------------------------------------------------


def _list_profiles(request: ApiRequest) -> Response:
    items = tuple(models.ProfileSummary(**profile.__dict__) for profile in request.context.registry.profiles())
    return json_response(200, models.ProfileList(items=items))


def _get_profile(request: ApiRequest) -> Response:
    return _answer_profile(request.context, request.context.registry.profile(request.names["profile"]), 200)


def _answer_profile(context: ApiContext, profile: Profile, status: int) -> Response:
    warnings = check_files(profile, context.content, frozenset(context.bases))
    return json_response(status, models.Profile(**profile.__dict__, warnings=warnings), _etag(profile.version))


def _put_profile(request: ApiRequest) -> Response:
    profile = named_profile(request.names["profile"], request.body, "api")
    stored = request.context.registry.put_profile(profile, request.version)
    return _answer_profile(request.context, stored, 201 if stored.version == 1 else 200)


def _delete_profile(request: ApiRequest) -> Response:
    request.context.registry.delete_profile(request.names["profile"], request.version)
    return Response(status=204)


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


def _list_boots(request: ApiRequest) -> Response:
    client = request.query["client"][0] if "client" in request.query else None
    items = history.boots(request.context.database, client=client, limit=_limit(request))
    return json_response(200, models.BootList(items=tuple(items)))


def _limit(request: ApiRequest) -> int:
    limit = request.query.get("limit", ["100"])[0]
    if not re.fullmatch(r"[1-9][0-9]{0,3}", limit) or int(limit) > _LIST_LIMIT:
        raise ApiError(400, f"limit is not a number from 1 to {_LIST_LIMIT}")
    return int(limit)


def _list_transfers(request: ApiRequest) -> Response:
    live = tuple(history.live_transfers(request.context.database))
    finished = tuple(history.finished_transfers(request.context.database))
    return json_response(200, models.Transfers(now=time.time(), live=live, finished=finished))


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


def _get_openapi(_request: ApiRequest) -> Response:
    return json_response(200, document(ROUTES))


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
        models.ClientList,
        query={**_LIMIT, "after": {"type": "string"}},
    ),
    Route("GET", _CLIENT, "getClient", "One client", _get_client, models.Client, versioned=True),
    Route(
        "PUT", _CLIENT, "putClient", "Make or replace a client", _put_client, models.Client, ClientBody, versioned=True
    ),
    Route("DELETE", _CLIENT, "deleteClient", "Forget a client and its next boot", _delete_client, versioned=True),
    Route("GET", _NEXT_BOOT, "getNextBoot", "What waits for one boot", _get_next_boot, models.NextBoot),
    Route(
        "PUT", _NEXT_BOOT, "setNextBoot", "Boot a profile once", _put_next_boot, models.NextBoot, models.NextBootBody
    ),
    Route("DELETE", _NEXT_BOOT, "clearNextBoot", "Boot as usual again", _delete_next_boot),
    Route("GET", "/api/v1/profiles", "listProfiles", "All profiles", _list_profiles, models.ProfileList),
    Route(
        "GET",
        _PROFILE,
        "getProfile",
        "One profile, with warnings about its files",
        _get_profile,
        models.Profile,
        versioned=True,
    ),
    Route(
        "PUT",
        _PROFILE,
        "putProfile",
        "Make or replace a profile",
        _put_profile,
        models.Profile,
        ProfileBody,
        versioned=True,
    ),
    Route("DELETE", _PROFILE, "deleteProfile", "Forget a profile that nobody needs", _delete_profile, versioned=True),
    Route("GET", f"{_PROFILE}/menus", "getMenus", "The profile in each dialect", _get_menus, models.Menus),
    Route(
        "GET",
        "/api/v1/boots",
        "listBoots",
        "The last boots, the newest first",
        _list_boots,
        models.BootList,
        query={**_LIMIT, "client": {"type": "string"}},
    ),
    Route(
        "GET",
        "/api/v1/transfers",
        "listTransfers",
        "Transfers under way and the last that ended",
        _list_transfers,
        models.Transfers,
    ),
    Route("GET", "/api/v1/server", "getServer", "About this server", _get_server, models.Server),
    Route("GET", OPENAPI_PATH, "getOpenapi", "This description", _get_openapi, dict),
)
