"""The HTTP API: its document, its routes, who may ask, and what bodies it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from pvboot.serve.state.clients import ClientBody
from pvboot.serve.state.errors import DescriptionError
from pvboot.serve.state.http_api import THROTTLE_SECONDS, WRONG_TOKENS, Throttle, authorize
from pvboot.serve.state.openapi import document
from pvboot.serve.state.problems import ApiError
from pvboot.serve.state.profiles import ProfileBody
from pvboot.serve.state.routes import ROUTES
from pvboot.serve.state.schemas import NextBootBody, schemas
from tests.serve.state.helpers import (
    AUTHORIZED,
    CONFIG,
    MAC,
    OTHER_MAC,
    Served,
    ask,
    call,
    load,
    read,
    read_profile,
    state_in,
    who,
)

NEW = {"mac": "52-54-00-00-00-03", "profile": "rescue"}
CLIENT, NEXT = "/api/v1/clients/new", "/api/v1/clients/web/next-boot"


def check(schema: str, value: Any) -> None:
    """Hold a value to a schema of the document."""
    whole = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": schemas()}}
    jsonschema.Draft202012Validator(whole).validate(value)


# --- the document -----------------------------------------------------------------------------------------


def test_document_is_valid_openapi(state: Served) -> None:
    status, body = ask(state, "GET", "/api/v1/openapi.json", token=False)
    OpenAPIV31SpecValidator(body).validate()
    assert (status, body) == (200, json.loads(json.dumps(document(ROUTES))))


def test_document_has_every_route_and_no_other() -> None:
    described = {(method.upper(), path) for path, methods in document(ROUTES)["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}


@pytest.mark.parametrize("schema", schemas())
def test_every_schema_is_used(schema: str) -> None:
    assert json.dumps(document(ROUTES)).count(f'"#/components/schemas/{schema}"')


def test_every_answer_is_as_the_document_says(state: Served) -> None:
    """All routes, in an order in which each finds what it needs; the answers are held to the schemas."""
    read(state, f"/boot/menu.lst.{MAC}", who())
    state.journal.begin(who(), "/k", 100)
    state.journal.flush()
    bodies = {ClientBody: NEW, NextBootBody: {"profile": "rescue"}, ProfileBody: {"kernel": "/k"}}
    order = ["putClient", "putProfile", "setNextBoot", "get", "list", "clearNextBoot", "deleteClient", "deleteProfile"]
    for route in sorted(ROUTES, key=lambda one: next(i for i, name in enumerate(order) if one.name.startswith(name))):
        path = route.path.replace("{client}", "new").replace("{profile}", "mine")
        status, body = ask(state, route.method, path, bodies[route.body] if route.body else None)
        documented = document(ROUTES)["paths"][route.path][route.method.lower()]["responses"]
        assert str(status) in documented, (route.name, status, body)
        if route.reply not in (None, dict):
            check(route.reply.__name__, body)


_PROFILE_BODIES = st.fixed_dictionaries(
    {},
    optional={
        "title": st.text(max_size=4),
        "kernel": st.sampled_from(["/k", "k", "http://h/k", ""]),
        "initrd": st.one_of(st.just("/i"), st.lists(st.sampled_from(["/i", "/j"]), max_size=3), st.integers()),
        "args": st.text("a \n", max_size=3),
        "timeout": st.integers(-3, 4000),
        "fallback": st.lists(st.integers(-1, 1), max_size=2),
        "local": st.booleans(),
        "other": st.none(),
    },
)


@given(_PROFILE_BODIES)
def test_profiles_that_are_taken_are_as_the_document_says(body: dict[str, Any]) -> None:
    try:
        read_profile("p", body)
    except DescriptionError:
        return
    check("ProfileBody", body)


# --- what the routes do -----------------------------------------------------------------------------------


def test_client_is_made_changed_and_forgotten(state: Served) -> None:
    status, made = ask(state, "PUT", CLIENT, NEW)
    assert (status, made["mac"], made["version"], made["source"]) == (201, "52:54:00:00:00:03", 1, "api")
    status, changed = ask(state, "PUT", CLIENT, {**NEW, "note": "x"})
    assert (status, changed["version"]) == (200, 2)
    assert [one["name"] for one in ask(state, "GET", "/api/v1/clients")[1]["items"]] == ["new", "off", "web"]
    assert ask(state, "DELETE", CLIENT) == (204, None)
    assert ask(state, "GET", CLIENT)[0] == 404


def test_clients_come_in_pages(state: Served) -> None:
    names = ["B", "a", "b", "off", "web", "ä"]
    for number, name in enumerate(("a", "ä", "B", "b")):
        ask(state, "PUT", f"/api/v1/clients/{name}", {"mac": f"{number:012x}"})
    seen, after = [], ""
    while after is not None:
        page = ask(state, "GET", "/api/v1/clients", query={"limit": ["2"], "after": [after]})[1]
        seen += [one["name"] for one in page["items"]]
        after = page["next"]
    assert seen == names


def test_client_says_what_it_would_boot(state: Served) -> None:
    clients = {one["name"]: one["would_boot"] for one in ask(state, "GET", "/api/v1/clients")[1]["items"]}
    web = clients["web"]
    assert (web["title"], web["kernel"], web["once"]) == ("Debian", "/debian/vmlinuz", False)
    assert (clients["off"]["title"], clients["off"]["kernel"]) == ("Local disk", None)
    ask(state, "PUT", NEXT, {"profile": "rescue"})
    once = ask(state, "GET", "/api/v1/clients/web")[1]["would_boot"]
    assert (once["title"], once["once"]) == ("Rescue", True)


def test_next_boot_is_set_seen_and_cleared(state: Served) -> None:
    assert ask(state, "GET", NEXT)[0] == 404
    assert ask(state, "PUT", NEXT, {"profile": "rescue"})[0] == 200
    assert ask(state, "GET", NEXT)[1]["profile"] == "rescue"
    assert ask(state, "DELETE", NEXT)[0] == 204
    assert ask(state, "DELETE", NEXT)[0] == 404


def test_profile_of_the_api_is_booted_like_any_other(state: Served) -> None:
    body = {"title": "Mine", "kernel": "/k", "args": "mine"}
    assert ask(state, "PUT", "/api/v1/profiles/mine", body)[0] == 201
    ask(state, "PUT", CLIENT, {**NEW, "profile": "mine"})
    assert "kernel (nd)/k mine" in read(state, "/boot/menu.lst.525400000003", who())
    assert ask(state, "DELETE", "/api/v1/profiles/mine")[0] == 409


def test_profile_is_shown_in_each_dialect(state: Served) -> None:
    ask(state, "PUT", "/api/v1/profiles/mine", {"kernel": "/k", "initrd": ["/i", "/i"]})
    menus = ask(state, "GET", "/api/v1/profiles/mine/menus")[1]
    assert menus["menu.lst"]["text"] is None and "several initrds" in menus["menu.lst"]["problem"]
    assert "(http,192.0.2.1)/k" in menus["grub.cfg"]["text"]
    assert "http://192.0.2.1/k" in menus["ipxe"]["text"]
    assert "LINUX /k" in menus["pxelinux"]["text"]


def test_profile_warns_of_its_files(state: Served) -> None:
    warnings = ask(state, "PUT", "/api/v1/profiles/mine", {"kernel": "/gone"})[1]["warnings"]
    assert any("/gone" in line for line in warnings)


def test_boots_of_one_client(state: Served) -> None:
    for path in (f"/boot/menu.lst.{MAC}", "/boot/menu.lst", f"/boot/menu.lst.{OTHER_MAC}"):
        read(state, path, who())

    def names(**query: list[str]) -> list[Any]:
        return [boot["client"] for boot in ask(state, "GET", "/api/v1/boots", query=query)[1]["items"]]

    assert (names(), names(client=["web"]), names(limit=["1"])) == (["off", None, "web"], ["web"], ["off"])


def test_live_transfer_is_seen_by_another_process(state: Served, tmp_path: Path) -> None:
    with state_in(tmp_path) as other:
        number = other.journal.begin(who(), "/k", 100)
        other.journal.advance(number, 40)
        other.journal.flush()
        (live,) = ask(state, "GET", "/api/v1/transfers")[1]["live"]
        assert (live["path"], live["sent"], live["size"], live["outcome"]) == ("/k", 40, 100, "")
        other.journal.end(number, "done", 100)
        other.journal.flush()
        found = ask(state, "GET", "/api/v1/transfers")[1]
        assert (found["live"], found["finished"][0]["outcome"]) == ([], "done")


def test_server_shows_its_counters_and_no_secrets(state: Served) -> None:
    state.shared.publish(0, {"tftp_resends_total": 3, "transfers_total": 1})
    answer = call(state, "GET", "/api/v1/server")
    assert json.loads(answer.body)["counters"] == {"tftp_resends": 3}
    assert CONFIG["api"]["write_token"].encode() not in answer.body


# --- versions ---------------------------------------------------------------------------------------------


def test_change_names_the_version_that_it_was_made_to(state: Served) -> None:
    first = call(state, "PUT", CLIENT, NEW, headers={"If-None-Match": "*"}).headers["ETag"]
    assert ask(state, "PUT", CLIENT, NEW, headers={"If-None-Match": "*"})[0] == 412
    second = call(state, "PUT", CLIENT, NEW, headers={"If-Match": first}).headers["ETag"]
    assert ask(state, "PUT", CLIENT, NEW, headers={"If-Match": first})[0] == 412
    assert ask(state, "DELETE", CLIENT, headers={"If-Match": "W/x"})[0] == 412
    assert call(state, "GET", CLIENT).headers["ETag"] == second
    assert ask(state, "DELETE", CLIENT, headers={"If-Match": second})[0] == 204


# --- who may ask ------------------------------------------------------------------------------------------

WRITES = [(route.method, route.path) for route in ROUTES if route.writes]
READS = [(route.method, route.path) for route in ROUTES if not route.writes and "openapi" not in route.path]


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic eDp5", "Bearer a-token-for-the-testsx"])
def test_nothing_is_changed_without_the_token(method: str, path: str, header: str | None, state: Served) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = call(state, method, path, NEW, token=False, headers=headers)
    assert (answer.status, answer.headers["WWW-Authenticate"][:6]) == (401, "Bearer")


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_nobody_writes_where_no_token_is_configured(method: str, path: str, tmp_path: Path) -> None:
    with state_in(tmp_path, api={}) as state:
        assert ask(state, method, path, NEW)[0] == 403


@pytest.mark.parametrize(("method", "path"), READS)
def test_reading_needs_a_token_where_configured(method: str, path: str, tmp_path: Path) -> None:
    api = {"read": "token", "read_token": "reading-is-allowed", "write_token": CONFIG["api"]["write_token"]}
    with state_in(tmp_path, api=api) as state:
        known = path.replace("{client}", "web").replace("{profile}", "rescue")
        reader = {"Authorization": "bearer reading-is-allowed"}
        assert ask(state, method, known, token=False)[0] == 401
        assert ask(state, method, known, token=False, headers=reader)[0] in (200, 404)
        assert ask(state, method, known)[0] in (200, 404)
        assert ask(state, "DELETE", CLIENT, token=False, headers=reader)[0] == 401


@pytest.mark.parametrize(
    ("networks", "address", "status"),
    [
        ([], "127.0.0.1", 200),
        ([], "127.1.2.3", 200),
        ([], "::1", 200),
        ([], "::ffff:127.0.0.1", 200),
        ([], "192.0.2.1", 403),
        ([], "2001:db8::1", 403),
        ([], "::ffff:192.0.2.1", 403),
        (["192.0.2.0/24"], "192.0.2.1", 200),
        (["192.0.2.0/24"], "198.51.100.1", 403),
        (["fe80::/10"], "fe80::1%eth0", 200),
        (["0.0.0.0/0", "::/0"], "2001:db8::1", 200),
    ],
)
def test_the_api_answers_its_own_host_unless_configured(networks: list[str], address: str, status: int) -> None:
    settings = load({**CONFIG, "api": {**CONFIG["api"], "networks": networks}})
    for writes, public in ((False, False), (False, True), (True, False)):
        try:
            authorize(address, AUTHORIZED["Authorization"], settings, Throttle(), writes=writes, public=public)
        except ApiError as err:
            assert err.status == status == 403
        else:
            assert status == 200


def test_guessing_tokens_takes_time(state: Served) -> None:
    """A right token waits too: else the answers would tell which guess was right."""
    wrong = {"Authorization": "Bearer wrong"}
    statuses = [ask(state, "DELETE", CLIENT, token=False, headers=wrong)[0] for _ in range(WRONG_TOKENS)]
    assert statuses == [401] * WRONG_TOKENS
    answer = call(state, "DELETE", CLIENT)
    assert (answer.status, 0 < int(answer.headers["Retry-After"]) <= THROTTLE_SECONDS) == (429, True)
    assert ask(state, "GET", "/api/v1/clients", token=False)[0] == 200


def test_an_address_is_let_in_again_after_a_while() -> None:
    now = 100.0
    throttle = Throttle(lambda: now)
    for address in ("192.0.2.1", *map(str, range(2000))):
        for _ in range(WRONG_TOKENS):
            throttle.check(address)
            throttle.count(address)
    throttle.check("192.0.2.1")  # so many others are not remembered
    with pytest.raises(ApiError):
        throttle.check("1999")
    now += THROTTLE_SECONDS
    throttle.check("1999")


# --- bodies and requests that are no good -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"mac":"525400000003","mac":"525400000004"}', 400),
        (b'{"mac":NaN}', 400),
        (b"[" * 60000, 400),
        (b'{"note":' + b"9" * 5000 + b"}", 400),
        (b'"' + b"x" * (64 << 10) + b'"', 413),
        (b"[]", 422),
        (b"null", 422),
        (b"{}", 422),
        (b'{"mac":"x"}', 422),
        (b'{"mac":["525400000003"]}', 422),
        (b'{"mac":"525400000003","more":1}', 422),
        (b'{"mac":"525400000003","enabled":1}', 422),
        (b'{"mac":"525400000003","note":"\\ud800"}', 422),
        (b'{"mac":"525400000003","note":"a\\u0000"}', 422),
        (b'{"mac":"525400000003","profile":"nothing"}', 404),
        (b'{"mac":"525400000001"}', 409),
    ],
)
def test_bad_body(raw: bytes, status: int, state: Served) -> None:
    answer = call(state, "PUT", CLIENT, raw=raw)
    assert (answer.status, answer.headers.get_content_type()) == (status, "application/problem+json")
    check("Problem", json.loads(answer.body))
    assert ask(state, "GET", CLIENT)[0] == 404


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_forms_of_other_sites_are_no_bodies(kind: str, state: Served) -> None:
    assert ask(state, "PUT", CLIENT, NEW, headers={"Content-Type": kind})[0] == 415


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api", 404),
        ("GET", "/api/v2/clients", 404),
        ("GET", "/api/v1/clients/a/b", 404),
        ("POST", "/api/v1/clients", 405),
        ("PATCH", "/api/v1/clients/web", 405),
        ("DELETE", "/api/v1/boots", 405),
        ("PUT", "/api/v1/clients/web", 409),
        ("DELETE", "/api/v1/clients/web", 409),
        ("DELETE", "/api/v1/clients/nobody", 404),
        ("GET", "/api/v1/clients/\udcff", 404),
        ("GET", "/api/v1/clients/a\0", 404),
        ("PUT", "/api/v1/profiles/\udcff", 404),
        ("DELETE", "/api/v1/profiles/rescue", 409),
        ("PUT", "/api/v1/clients/" + "n" * 65, 422),
    ],
)
def test_request_that_comes_to_nothing(method: str, path: str, status: int, state: Served) -> None:
    answer = call(state, method, path, NEW if method == "PUT" else None)
    assert (answer.status, answer.headers.get_content_type()) == (status, "application/problem+json")
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": ["0"]},
        {"limit": ["1001"]},
        {"limit": ["1e2"]},
        {"limt": ["1"]},
        {"client": ["\udcff"]},
        {"client": ["a\0"]},
    ],
)
def test_bad_parameter(query: dict[str, list[str]], state: Served) -> None:
    assert ask(state, "GET", "/api/v1/boots", query=query)[0] == 400


def test_head_is_answered_like_get(state: Served) -> None:
    assert call(state, "HEAD", "/api/v1/clients").status == 200


def test_any_request_has_an_honest_answer(state: Served) -> None:
    odd = st.text(st.characters(exclude_categories=()), max_size=5)
    parts = st.sampled_from(["clients", "profiles", "boots", "web", "next-boot", "menus"]) | odd
    text = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=9)
    headers = st.dictionaries(st.sampled_from(["If-Match", "Authorization", "Content-Type"]), text)

    methods = st.sampled_from(["GET", "PUT", "DELETE", "POST"])

    @given(methods, st.lists(parts, max_size=4), st.binary(max_size=20), headers)
    def try_one(method: str, path: list[str], body: bytes, headers: dict[str, str]) -> None:
        path = [quote(part.encode("utf-8", "surrogatepass"), safe="") for part in path]
        assert call(state, method, "/".join(["/api/v1", *path]), raw=body, headers=headers).status < 500

    try_one()
