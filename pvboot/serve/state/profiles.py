"""Profiles: what a client boots, described once and free of any menu dialect."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pvboot.serve.state.bodies import File, Line, Name, Title, read_body
from pvboot.serve.state.clients import Origin
from pvboot.validation import Items, Mistake, Model, refusal

ENTRY_LIMIT = 32
INITRD_LIMIT = 16
TIMEOUT_LIMIT = 3600  # seconds
SEVERAL_TIMEOUT = 5  # seconds that a menu of several entries waits unless its profile says otherwise

Index = Annotated[int, Field(ge=0, description="number of an entry, from 0")]
Fallback = Annotated[Items[Index], Field(max_length=8)]
Timeout = Annotated[int, Field(ge=-1, le=TIMEOUT_LIMIT, description="seconds; -1 waits for ever, 0 boots at once")]


class Module(Model):
    """A multiboot module: its file and its command line."""

    file: File
    args: Line = ""


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


Initrds = Annotated[
    Items[File],
    Field(max_length=INITRD_LIMIT),
    BeforeValidator(_several, json_schema_input_type=File | Annotated[list[File], Field(max_length=INITRD_LIMIT)]),
]


class Files(Model):
    """A kernel with its files, or (`local`) the client's own disk.

    Files are absolute paths of this server's content, or whole URLs (http, https, tftp).
    """

    kernel: File = ""
    initrd: Initrds = ()
    args: Line = ""
    modules: Annotated[Items[Module], Field(max_length=INITRD_LIMIT)] = ()
    local: Annotated[bool, Field(description="true: the client's own disk, and nothing is loaded")] = False

    def _mistakes(self) -> list[Mistake]:
        if not self.local:
            return [] if self.kernel else [Mistake("missing", "kernel")]
        useless = [key for key in Files.model_fields if key != "local" and getattr(self, key)]
        return [Mistake("an entry for the local disk loads nothing", key) for key in useless]


class Entry(Files):
    """One choice of a profile."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)  # see `_leave_out`

    title: Title

    @model_validator(mode="after")
    def _check(self) -> Self:
        if mistakes := self._mistakes():
            raise refusal(*mistakes)
        return self

    @model_serializer(mode="wrap")
    def _leave_out(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The local disk has no files, and other entries do not mention it."""
        values: dict[str, Any] = {"title": self.title, **dump(self)}
        left_out = Files.model_fields.keys() - {"local"} if self.local else {"local"}
        return {key: value for key, value in values.items() if key not in left_out}

    @property
    def files(self) -> tuple[str, ...]:
        """All files that the entry loads, the kernel first."""
        kernel = (self.kernel,) if self.kernel else ()
        return (*kernel, *self.initrd, *(module.file for module in self.modules))


class ProfileBody(Files):
    """Entries, or the fields of an only entry.  Without a timeout several entries wait, and one is booted at once."""

    title: Title = ""
    entries: Annotated[Items[Entry], Field(min_length=1, max_length=ENTRY_LIMIT)] = ()
    default: Index = 0
    timeout: Timeout = 0
    fallback: Fallback = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        last = max(0, len(self.entries) - 1)
        alone = [key for key in Files.model_fields if key in self.model_fields_set]
        mistakes = [Mistake("stands beside entries", key) for key in alone] if self.entries else self._mistakes()
        indices = {"default": self.default, **{f"fallback[{at}]": value for at, value in enumerate(self.fallback)}}
        mistakes += [
            Mistake("there is no such entry", at, f"at most {last}", str(value))
            for at, value in indices.items()
            if value > last
        ]
        if len(set(self.fallback)) != len(self.fallback):
            # GRUB Legacy drops the whole line then.
            mistakes.append(Mistake("names an entry twice", "fallback"))
        if mistakes:
            raise refusal(*mistakes)
        return self


class Profile(Model):
    """A profile as it is booted; `source` and `version` as for clients."""

    name: Name
    title: Title
    entries: Items[Entry]
    default: Index = 0
    timeout: Timeout = 0
    fallback: Fallback = ()
    source: Origin = "api"
    version: Annotated[int, Field(ge=0)] = 0


# For a disabled client: it boots as if there were no server.
LOCAL = Profile(name="local", title="Local disk", entries=(Entry(title="Local disk", local=True),))


def named_profile(name: str, body: ProfileBody, source: Origin, version: int = 0) -> Profile:
    """The profile of that name.  Raises `DescriptionError` if it cannot be a name."""
    title = body.title or name
    only = {key: getattr(body, key) for key in Files.model_fields if key in body.model_fields_set}
    entries = body.entries or (read_body(Entry, {**only, "title": title}, "profile"),)
    timeout = SEVERAL_TIMEOUT if len(entries) > 1 and "timeout" not in body.model_fields_set else body.timeout
    values = {"name": name, "title": title, "entries": entries, "default": body.default, "timeout": timeout}
    return read_body(Profile, {**values, "fallback": body.fallback, "source": source, "version": version}, "profile")


def describe(profile: Profile) -> dict[str, Any]:
    """The profile as JSON, in the form of `ProfileBody`."""
    return profile.model_dump(mode="json", exclude={"name", "source", "version"})
