"""Render a profile as the text of a menu, in the dialect that was asked for.

Each dialect has its own ways of quoting and its own gaps.  What it cannot say is an `InexpressibleError`; what it says
with less effect than the profile means is a warning.  `templates/` holds the menus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote, urlsplit

from pvboot.serve.state.errors import InexpressibleError
from pvboot.serve.state.names import DIALECTS, GRUB_CFG, IPXE, MENU_LST, PXELINUX
from pvboot.serve.state.profiles import Entry, Profile
from pvboot.templates import environment

LEGACY_LINE_LIMIT = 1500  # characters GRUB Legacy keeps of a line; the rest is silently lost
CMDLINE_LIMIT = 1023  # characters of Xen's start_info.cmd_line

# Characters that stand unchanged in a URL's path; loaders do not agree on how to encode the others.
_URL_SAFE = "/-._~!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A menu's text, and warnings for its author."""

    text: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchContext:
    """The way a client fetches: `protocol` "tftp", "http" or "https"; `bases` are this server's base URLs by
    protocol ("http": "http://192.0.2.1:8080"), without a last slash."""

    protocol: str
    bases: Mapping[str, str]


def render(profile: Profile, dialect: str, context: FetchContext) -> Rendered:
    """The profile as a menu.  `InexpressibleError` names the entry and what it is about."""
    for entry in profile.entries:
        _refuse_any(dialect, entry.title, _ENTRY_GAPS[dialect](entry))
    text = _TEMPLATES[dialect].render(
        profile=profile,
        title=partial(_title, dialect),
        path=partial(_path_only, dialect),
        command=partial(_grub_command, context),
        url=partial(_ipxe_url, context),
        failures=[_after_failure(profile, index) for index in range(len(profile.entries))],
    )
    if dialect == MENU_LST:
        long = next((line for line in text.splitlines() if len(line.encode()) > LEGACY_LINE_LIMIT), None)
        if long is not None:
            raise InexpressibleError(f"menu.lst has no lines above {LEGACY_LINE_LIMIT} bytes", found=ascii(long[:60]))
    return Rendered(text, tuple(_warnings(profile, dialect, context)))


def _warnings(profile: Profile, dialect: str, context: FetchContext) -> Iterator[str]:
    for entry in profile.entries:
        if len(entry.args.encode()) > CMDLINE_LIMIT:
            yield f"entry {entry.title!r}: a Xen guest gets {CMDLINE_LIMIT} bytes of arguments, the rest is lost"
    if dialect == PXELINUX and profile.fallback:
        yield "PXELINUX knows no fallback entries"
    port = urlsplit(context.bases.get(context.protocol, "")).port
    if dialect == GRUB_CFG and port not in (None, 80, 69):
        yield "GRUB 2.06 and older know no port in a device's name"


# --- gaps of the dialects ---------------------------------------------------------------------------------


def _refuse(dialect: str, entry: str, what: str, found: str = "") -> InexpressibleError:
    return InexpressibleError(f"{dialect} has no way to say it: {what}", where=f"entry {entry!r}", found=found)


def _refuse_any(dialect: str, entry: str, gaps: Iterator[str]) -> None:
    for what in gaps:
        raise _refuse(dialect, entry, what)


def _menu_lst_title_gaps(title: str) -> Iterator[str]:
    if title.startswith("="):
        yield "a title that begins with ="


def _pxelinux_title_gaps(title: str) -> Iterator[str]:
    if "^" in title:
        yield "^ marks a key and cannot be shown"


def _ipxe_gaps(text: str) -> Iterator[str]:
    """iPXE has no quotes, only words that separate commands, and `${settings}`."""
    yield from (f"the word {word}" for word in text.split() if word in ("#", "||", "&&", ";"))
    if "${" in text:
        yield "${ begins a setting"
    if re.search(r"\s\s", text):
        yield "two blanks in a row"


def _menu_lst_gaps(entry: Entry) -> Iterator[str]:
    if any(text.endswith("\\") for text in (entry.title, *_arguments(entry))):
        yield "a backslash at the end of a line joins lines"
    if len(entry.initrd) > 1:
        yield "several initrds"
    yield from _no_initrd_with_modules(entry)


def _pxelinux_gaps(entry: Entry) -> Iterator[str]:
    if entry.modules:
        yield "modules"
    if entry.args == "-":
        yield "a single - as arguments means none"
    if any(word.startswith("initrd=") for word in entry.args.split()):
        yield "initrd= in arguments names a file to load"
    if len(entry.args) > 2 and entry.args[0] == entry.args[-1] == '"' and '"' not in entry.args[1:-1]:
        yield "quotes round all arguments, which readers take away"


def _ipxe_entry_gaps(entry: Entry) -> Iterator[str]:
    yield from _no_initrd_with_modules(entry)
    for text in _arguments(entry):
        yield from _ipxe_gaps(text)


def _no_initrd_with_modules(entry: Entry) -> Iterator[str]:
    if entry.initrd and entry.modules:
        yield "an initrd together with modules"


def _arguments(entry: Entry) -> tuple[str, ...]:
    return (entry.args, *(module.args for module in entry.modules))


_TITLE_GAPS = {MENU_LST: _menu_lst_title_gaps, PXELINUX: _pxelinux_title_gaps, IPXE: _ipxe_gaps}
_ENTRY_GAPS = {
    MENU_LST: _menu_lst_gaps,
    GRUB_CFG: _no_initrd_with_modules,
    PXELINUX: _pxelinux_gaps,
    IPXE: _ipxe_entry_gaps,
}


# --- titles, files and words ------------------------------------------------------------------------------


def _title(dialect: str, title: str) -> str:
    _refuse_any(dialect, title, _TITLE_GAPS[dialect](title))
    return title


def _path_only(dialect: str, entry: Entry, file: str, forbidden: str = " ") -> str:
    """A file of this server by its path; loaders that end names at a blank get no such names."""
    if not file.startswith("/"):
        raise _refuse(dialect, entry.title, "a file of another server", ascii(file))
    bad = next((char for char in file if char in forbidden or char.isspace()), None)
    if bad is not None:
        raise _refuse(dialect, entry.title, f"{bad!r} in a file's name", ascii(file))
    return file


def _grub_command(context: FetchContext, name: str, entry: Entry, files: Sequence[str], args: str = "") -> str:
    words = [*(_grub_file(entry, file, context) for file in files), *_grub_arguments(entry, args)]
    return " ".join([name, *map(_grub_word, words)])


def _grub_word(text: str) -> str:
    """One word, whatever stands in it: nothing is special between single quotes but the quote itself."""
    return "'" + text.replace("'", "'\\''") + "'"


def _grub_arguments(entry: Entry, args: str) -> list[str]:
    """The words that GRUB joins to the command line again.

    It puts double quotes round a word with a blank, so `a="b c"` is handed over as the word `a=b c` and reaches the
    kernel as `"a=b c"`, which means the same to Linux.  It puts backslashes before quotes and backslashes, which no
    kernel takes away.
    """
    if args.count('"') % 2:
        raise _refuse(GRUB_CFG, entry.title, "a double quote without its partner", ascii(args))
    if "'" in args or "\\" in args:
        raise _refuse(GRUB_CFG, entry.title, "a single quote or backslash in arguments", ascii(args))
    found: list[str] = re.findall(r'(?:"[^"]*"|[^\s"])+', args)
    for word in found:
        if '"' in word and not re.search(r'"[^"]*\s[^"]*"', word):
            raise _refuse(GRUB_CFG, entry.title, "double quotes round a word without blanks", ascii(word))
    return [word.replace('"', "") for word in found]


def _grub_file(entry: Entry, file: str, context: FetchContext) -> str:
    """`(http,host)/path`; without a known address `(http)`, which GRUB completes with the server it came from."""
    if file.startswith("/"):
        base, path = context.bases.get(context.protocol, f"{context.protocol}:"), file
    else:
        parts = urlsplit(file)
        base, path = f"{parts.scheme}://{parts.netloc}", parts.path or "/"
        if parts.query:
            raise _refuse(GRUB_CFG, entry.title, "a query in a URL", ascii(file))
    protocol, _, host = base.partition("://")
    protocol = protocol.rstrip(":")
    if protocol == "https":
        raise _refuse(GRUB_CFG, entry.title, "https", ascii(file))
    if "@" in host or "," in host or ")" in host:
        raise _refuse(GRUB_CFG, entry.title, "such a host", ascii(host))
    if protocol == "http" and quote(path, safe=_URL_SAFE + "%") != path:
        raise _refuse(GRUB_CFG, entry.title, "a file's name that HTTP would have to encode", ascii(path))
    return f"({protocol},{host}){path}" if host else f"({protocol}){path}"


def _ipxe_url(context: FetchContext, entry: Entry, file: str) -> str:
    url = file_url(file, context)
    _refuse_any(IPXE, entry.title, _ipxe_gaps(url))
    return url


def _after_failure(profile: Profile, index: int) -> str:
    """The iPXE command for an entry that fails: the next of the fallback entries."""
    after = profile.fallback.index(index) + 1 if index in profile.fallback else 0
    return f"goto entry{profile.fallback[after]}" if after < len(profile.fallback) else "exit 1"


def file_url(file: str, context: FetchContext) -> str:
    """The file as a URL; a path of this server without a known address stays a path."""
    if not file.startswith("/"):
        return file
    base = context.bases.get(context.protocol, "")
    # "$" is encoded too: iPXE would read a setting out of it.
    return base + quote(file, safe=_URL_SAFE.replace("$", "").replace("'", ""))


_ENVIRONMENT = environment("pvboot.serve.state")
_ENVIRONMENT.filters["word"] = _grub_word
_TEMPLATES = {dialect: _ENVIRONMENT.get_template(f"{dialect}.j2") for dialect in DIALECTS}
