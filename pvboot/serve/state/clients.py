"""Clients: who they are and which profile they boot."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from pvboot.serve.state.bodies import Line, Name, read_body
from pvboot.serve.state.identity import KINDS, Identity
from pvboot.validation import refuse

Origin = Literal["config", "api"]


class ClientBody(Identity):
    """At least one of mac, uuid, address and hostname."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [kind], "properties": {kind: {"type": "string"}}} for kind in KINDS]}
    )

    profile: Annotated[Name | None, Field(description="null: the default profile")] = None
    enabled: Annotated[bool, Field(description="false: boots its own disk")] = True
    note: Annotated[Line, Field(max_length=1000)] = ""

    @model_validator(mode="after")
    def _check_identity(self) -> Self:
        if not any(self.get(kind) for kind in KINDS):
            raise refuse("nothing tells the client from others", expected=" or ".join(KINDS))
        return self


class Client(ClientBody):
    """A client of the configuration (`source` "config": changed there only) or of the database ("api").

    `version` counts the changes of the latter.
    """

    name: Name
    source: Origin = "api"
    version: Annotated[int, Field(ge=0)] = 0


def named_client(name: str, body: ClientBody, source: Origin) -> Client:
    """The client of that name.  Raises `DescriptionError` if it cannot be a name."""
    return read_body(Client, {**body.__dict__, "name": name, "source": source}, "client")
