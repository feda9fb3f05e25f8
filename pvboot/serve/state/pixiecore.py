"""pixiecore's boot API: `GET /v1/boot/MAC` tells a pixiecore server what a machine boots.

Source: pixiecore's README, "Pixiecore in API mode": a JSON document with `kernel`, `initrd` (a list), `cmdline` (a Go
template) and `message`; relative URLs count from the API's; every other status than 200 means "ignore the machine".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pvboot.errors import PvbootError
from pvboot.serve.api import Request, Response
from pvboot.serve.state.errors import InexpressibleError
from pvboot.serve.state.history import MenuServed
from pvboot.serve.state.identity import Identity, read_mac
from pvboot.serve.state.menus import menu_served
from pvboot.serve.state.problems import ApiError, json_response, problem_of
from pvboot.serve.state.profiles import Profile
from pvboot.serve.state.registry import Registry
from pvboot.serve.state.render import FetchContext, file_url

DIALECT = "pixiecore"
_PREFIX = "/v1/boot/"


class Pixiecore:
    """A `Handler`.  It needs no token: the menus say the same."""

    def __init__(self, registry: Registry, bases: Mapping[str, str], record: Callable[[MenuServed], None]) -> None:
        self._registry, self._bases, self._record = registry, bases, record

    def __call__(self, request: Request) -> Response | None:
        """The machine's boot; a GET uses up its next boot, a HEAD does not."""
        if not request.path.startswith(_PREFIX):
            return None
        try:
            return self._answer(request)
        except (ApiError, PvbootError) as err:
            return problem_of(err)

    def _answer(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise ApiError(405, "only GET and HEAD", {"Allow": "GET, HEAD"})
        mac = read_mac(request.path[len(_PREFIX) :])
        if mac is None:
            raise ApiError(404, "no MAC address in the path")
        take = request.method == "GET"
        assigned = self._registry.choose(Identity(mac=mac), take=take)
        if assigned is None or assigned.profile.entries[assigned.profile.default].local:
            raise ApiError(404, "nothing for this machine from here")
        answer = describe(assigned.profile, FetchContext("https" if "http" not in self._bases else "http", self._bases))
        if take:
            self._record(menu_served(assigned, Identity(mac=mac), request.who, DIALECT, request.path))
        return json_response(200, answer)


def describe(profile: Profile, context: FetchContext) -> dict[str, object]:
    """The profile's default entry in pixiecore's words; `InexpressibleError` if it has none."""
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
