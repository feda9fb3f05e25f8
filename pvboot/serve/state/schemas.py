"""The shapes of the API's JSON bodies (JSON Schema 2020-12, as OpenAPI 3.1 uses it)."""

from __future__ import annotations

from typing import Any

from pvboot.serve.state.history import OUTCOMES
from pvboot.serve.state.names import DIALECTS
from pvboot.serve.state.profiles import ENTRY_LIMIT, INITRD_LIMIT, TIMEOUT_LIMIT

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TIME: Schema = {"type": "number", "description": "seconds since 1970"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_FLAG: Schema = {"type": "boolean"}


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _table(required: str, properties: dict[str, Schema], *, about: str = "") -> Schema:
    """An object with these properties and no others."""
    table = {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}
    return {**table, "description": about} if about else table


def _all(properties: dict[str, Schema], *, about: str = "") -> Schema:
    return _table(" ".join(properties), properties, about=about)


def _list(of: str) -> Schema:
    return _all({"items": {"type": "array", "items": _ref(of)}})


_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 64}
_FILE: Schema = {"type": "string", "minLength": 1, "maxLength": 1024, "description": "path of the content, or URL"}
_ARGS: Schema = {"type": "string", "maxLength": 4096}
_IDENTITY: dict[str, Schema] = {
    "mac": _maybe({"type": "string", "description": "any usual spelling; answered with colons"}),
    "uuid": _maybe(_TEXT),
    "address": _maybe({"type": "string", "description": "IPv4 or IPv6"}),
    "hostname": _maybe(_TEXT),
}
_CLIENT: dict[str, Schema] = {
    **_IDENTITY,
    "profile": _maybe({**_NAME, "description": "null: the default profile"}),
    "enabled": {**_FLAG, "description": "false: boots its own disk"},
    "note": {"type": "string", "maxLength": 1000},
}
_STORED: dict[str, Schema] = {"source": {"enum": ["config", "api"]}, "version": _COUNT}
_MODULE = _table("file", {"file": _FILE, "args": _ARGS})
_ENTRY_FILES: dict[str, Schema] = {
    "kernel": _FILE,
    "initrd": {"anyOf": [_FILE, {"type": "array", "items": _FILE, "maxItems": INITRD_LIMIT}]},
    "args": _ARGS,
    "modules": {"type": "array", "items": _MODULE, "maxItems": INITRD_LIMIT},
    "local": {**_FLAG, "description": "true: the client's own disk, and nothing is loaded"},
}
_TITLE: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
_ENTRY = _table("title", {"title": _TITLE, **_ENTRY_FILES})
_PROFILE: dict[str, Schema] = {
    "title": _TITLE,
    "entries": {"type": "array", "items": _ENTRY, "minItems": 1, "maxItems": ENTRY_LIMIT},
    "default": {**_COUNT, "description": "number of the entry, from 0"},
    "timeout": {
        "type": "integer",
        "minimum": -1,
        "maximum": TIMEOUT_LIMIT,
        "description": "seconds; -1 waits for ever",
    },
    "fallback": {"type": "array", "items": _COUNT, "maxItems": 8},
}
_NEXT_BOOT = _all({"profile": _NAME, "set_at": _TIME})
_WOULD_BOOT = _all(
    {
        "profile": _maybe(_TEXT),
        "once": {**_FLAG, "description": "it is a next boot"},
        "title": _maybe({"type": "string", "description": "of the default entry"}),
        "kernel": _maybe(_TEXT),
        "problem": _maybe({"type": "string", "description": "why there is nothing to boot"}),
    },
    about="What a menu would say that is asked for now.",
)
_MENU = _all({"text": _maybe(_TEXT), "problem": _maybe(_TEXT), "warnings": _TEXTS})
_BOOT = _all(
    {
        "id": _COUNT,
        "client": _maybe(_TEXT),
        "mac": _maybe(_TEXT),
        "address": _TEXT,
        "protocol": _TEXT,
        "dialect": {"enum": [*DIALECTS, "pixiecore"]},
        "profile": _TEXT,
        "next_boot": _FLAG,
        "path": _TEXT,
        "fetched": _TEXTS,
        "outcome": {"enum": list(OUTCOMES)},
        "detail": _TEXT,
        "started": _TIME,
        "changed": _TIME,
    }
)
_TRANSFER = _all(
    {
        "process": _TEXT,
        "number": _COUNT,
        "address": _TEXT,
        "protocol": _TEXT,
        "path": _TEXT,
        "size": {"type": "integer"},
        "sent": _COUNT,
        "outcome": {"type": "string", "description": "empty while it lives"},
        "started": _TIME,
        "changed": _TIME,
    }
)

_TRANSFERS: Schema = {"type": "array", "items": _ref("Transfer")}

SCHEMAS: dict[str, Schema] = {
    "Problem": _table(
        "type title status detail",
        {"type": _TEXT, "title": _TEXT, "status": _COUNT, "detail": _TEXT, "code": _TEXT},
        about="RFC 9457",
    ),
    "ClientBody": {
        **_table("", _CLIENT, about="At least one of mac, uuid, address and hostname."),
        "anyOf": [{"required": [kind], "properties": {kind: _TEXT}} for kind in _IDENTITY],
    },
    "Client": _all({"name": _NAME, **_CLIENT, **_STORED, "next_boot": _maybe(_NEXT_BOOT), "would_boot": _WOULD_BOOT}),
    "ClientList": _all(
        {
            "items": {"type": "array", "items": _ref("Client")},
            "next": _maybe({"type": "string", "description": "`after` of the next request; null: these were the last"}),
        }
    ),
    "NextBootBody": _all({"profile": _NAME}),
    "NextBoot": _NEXT_BOOT,
    "ProfileBody": _table("", {**_PROFILE, **_ENTRY_FILES}, about="Entries, or the fields of an only entry."),
    "Profile": _all({"name": _NAME, **_PROFILE, **_STORED, "warnings": _TEXTS}),
    "ProfileSummary": _all({"name": _NAME, **_PROFILE, **_STORED}),
    "ProfileList": _list("ProfileSummary"),
    "Menus": _all(dict.fromkeys(DIALECTS, _MENU), about="The profile in each dialect."),
    "Boot": _BOOT,
    "BootList": _list("Boot"),
    "Transfer": _TRANSFER,
    "Transfers": _all({"now": _TIME, "live": _TRANSFERS, "finished": _TRANSFERS}),
    "Server": _all(
        {
            "version": _TEXT,
            "process": _TEXT,
            "menus": _TEXT,
            "default_profile": _maybe(_TEXT),
            "protocols": _TEXTS,
            "writable": _FLAG,
            "warnings": _TEXTS,
            "counters": {"type": "object", "additionalProperties": _COUNT},
        }
    ),
}
