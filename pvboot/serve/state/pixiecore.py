"""pixiecore's boot API: `GET /v1/boot/MAC` tells a pixiecore server what a machine boots.

Source: pixiecore's README, "Pixiecore in API mode": a JSON document with `kernel`, `initrd` (a list), `cmdline` (a Go
template) and `message`; relative URLs count from the API's; every other status than 200 means "ignore the machine".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from fsdrivers.errors import NotFound
from pvboot.serve.api import Content, Requester, ServedDirectory, ServedFile
from pvboot.serve.state.errors import InexpressibleError
from pvboot.serve.state.history import MenuServed
from pvboot.serve.state.identity import Identity, read_mac
from pvboot.serve.state.menus import MadeFile, menu_served
from pvboot.serve.state.profiles import Profile
from pvboot.serve.state.registry import Registry
from pvboot.serve.state.render import FetchContext, file_url

DIALECT = "pixiecore"
_PREFIX = "/v1/boot/"


class PixiecoreContent:
    """Implements `Content`: the API's answers as files, beside those of a wrapped content.

    Anybody may ask: what it says is what the menus say, too.  An answer uses up the machine's next boot, unless the
    requester's claims say `peek` (HTTP's HEAD).
    """

    def __init__(
        self, base: Content, registry: Registry, bases: Mapping[str, str], record: Callable[[MenuServed], None]
    ) -> None:
        self._base, self._registry, self._bases, self._record = base, registry, bases, record

    def open(self, path: str, who: Requester) -> ServedFile | ServedDirectory:
        """As `Content.open`; nothing of it is there over TFTP."""
        if not path.startswith(_PREFIX) or who.protocol == "tftp":
            return self._base.open(path, who)
        mac = read_mac(path.removeprefix(_PREFIX))
        if mac is None:
            raise NotFound("not a MAC address in the path", where=path)
        take = not who.claims.get("peek")
        assigned = self._registry.choose(Identity(mac=mac), take=take)
        if assigned is None or assigned.profile.entries[assigned.profile.default].local:
            raise NotFound("nothing for this machine from here", where=path)
        answer = describe(assigned.profile, FetchContext("https" if "http" not in self._bases else "http", self._bases))
        if take:
            self._record(menu_served(assigned, Identity(mac=mac), who, DIALECT, path))
        return MadeFile(json.dumps(answer).encode(), "application/json")


def describe(profile: Profile, context: FetchContext) -> dict[str, object]:
    """Return the profile's default entry in pixiecore's terms.  Raises `InexpressibleError`."""
    entry = profile.entries[profile.default]
    if entry.local or entry.modules:
        raise InexpressibleError("pixiecore boots a kernel and initrds only", where=f"entry {entry.title!r}")
    if "{{" in entry.args:
        raise InexpressibleError("pixiecore reads {{ as a template", where=f"entry {entry.title!r}")
    return {
        "kernel": file_url(entry.kernel, context),
        "initrd": [file_url(file, context) for file in entry.initrd],
        "cmdline": entry.args,
        "message": entry.title,
    }
