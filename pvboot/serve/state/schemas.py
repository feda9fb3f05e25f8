"""The API's JSON bodies beyond clients and profiles, and the schemas of all (JSON Schema 2020-12, as OpenAPI 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from pvboot.serve.state import clients, profiles
from pvboot.serve.state.bodies import Name
from pvboot.serve.state.history import Boot, Count, Time, Transfer
from pvboot.validation import Items, Model


class Problem(Model):
    """RFC 9457"""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    type: str
    title: str
    status: Count
    detail: str
    code: str = ""


class NextBootBody(Model):
    """The profile to boot once."""

    profile: Name


class NextBoot(NextBootBody):
    """A profile for one boot."""

    set_at: Time


class WouldBoot(Model):
    """The boot that a menu would start now."""

    profile: str | None
    once: Annotated[bool, Field(description="it is a next boot")] = False
    title: Annotated[str | None, Field(description="of the default entry")] = None
    kernel: str | None = None
    problem: Annotated[str | None, Field(description="why there is nothing to boot")] = None


class Client(clients.Client):
    """A client, and what it boots next."""

    next_boot: NextBoot | None
    would_boot: WouldBoot


class ClientList(Model):
    """A page of clients."""

    items: Items[Client]
    next: Annotated[str | None, Field(description="`after` of the next request; null: these were the last")]


class ProfileSummary(profiles.Profile):
    """A profile."""


class Profile(ProfileSummary):
    """A profile, and what is wrong with its files."""

    warnings: Items[str]


class ProfileList(Model):
    """All profiles."""

    items: Items[ProfileSummary]


class Menu(Model):
    """A profile's menu in one dialect."""

    text: str | None = None
    problem: str | None = None
    warnings: Items[str] = ()


class Menus(Model):
    """The profile in each dialect."""

    menu_lst: Annotated[Menu, Field(alias="menu.lst")]
    grub_cfg: Annotated[Menu, Field(alias="grub.cfg")]
    pxelinux: Menu
    ipxe: Menu


class BootList(Model):
    """The last boots."""

    items: Items[Boot]


class Transfers(Model):
    """Transfers under way, and the last that ended."""

    now: Time
    live: Items[Transfer]
    finished: Items[Transfer]


class Server(Model):
    """The server itself."""

    version: str
    process: str
    menus: str
    default_profile: str | None
    protocols: Items[str]
    writable: bool
    warnings: Items[str]
    counters: Mapping[str, Count]


class _Plain(GenerateJsonSchema):
    """Schemas without titles and defaults; what a serializer leaves out is optional in its fields' schema."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def ser_schema(self, schema: Any) -> JsonSchemaValue | None:
        return None


_ASKED = (clients.ClientBody, NextBootBody, profiles.ProfileBody)
_ANSWERED = (
    *(Problem, Client, ClientList, NextBoot, ProfileSummary, Profile, ProfileList),
    *(Menus, Boot, BootList, Transfer, Transfers, Server),
)
_MODES: list[tuple[type[Model], JsonSchemaMode]] = [
    *((model, "validation") for model in _ASKED),
    *((model, "serialization") for model in _ANSWERED),
]


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """The components of the OpenAPI document, by name."""
    ref = "#/components/schemas/{model}"
    found: dict[str, dict[str, Any]] = models_json_schema(_MODES, ref_template=ref, schema_generator=_Plain)[1]["$defs"]
    return found
