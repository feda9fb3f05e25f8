"""Render a profile as the text of a menu, in the dialect that was asked for.

Each dialect has its own ways of quoting and its own gaps.  What it cannot say is an `InexpressibleError`; what it says
with less effect than the profile means is a warning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from pvboot.serve.state.errors import InexpressibleError
from pvboot.serve.state.names import GRUB_CFG, IPXE, MENU_LST, PXELINUX
from pvboot.serve.state.profiles import Entry, Profile

LEGACY_LINE_LIMIT = 1500  # characters GRUB Legacy keeps of a line; the rest is silently lost
CMDLINE_LIMIT = 1023  # characters of Xen's start_info.cmd_line

# What stands unchanged in a URL's path; everything else would need an encoding that loaders do not agree on.
_URL_SAFE = "/-._~!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A menu's text and what its author should know."""

    text: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchContext:
    """How the client fetches: `protocol` "tftp", "http" or "https"; `bases` are this server's base URLs by
    protocol ("http": "http://192.0.2.1:8080"), without a last slash."""

    protocol: str
    bases: Mapping[str, str]


def render(profile: Profile, dialect: str, context: FetchContext) -> Rendered:
    """The profile as a menu.  `InexpressibleError` names the entry and what it is about."""
    return _RENDERERS[dialect](profile, context)


def check_cmdline(entry: Entry) -> Iterator[str]:
    """Warnings about arguments that a Xen guest would not get whole."""
    if len(entry.args.encode()) > CMDLINE_LIMIT:
        yield f"entry {entry.title!r}: a Xen guest gets {CMDLINE_LIMIT} bytes of arguments, the rest is lost"


def _refuse(dialect: str, entry: str, what: str, found: str = "") -> InexpressibleError:
    return InexpressibleError(f"{dialect} has no way to say it: {what}", where=f"entry {entry!r}", found=found)


def _path_only(dialect: str, entry: Entry, file: str, forbidden: str = " ") -> str:
    """A file of this server by its path; loaders that end names at a blank get no such names."""
    if not file.startswith("/"):
        raise _refuse(dialect, entry.title, "a file of another server", ascii(file))
    bad = next((char for char in file if char in forbidden or char.isspace()), None)
    if bad is not None:
        raise _refuse(dialect, entry.title, f"{bad!r} in a file's name", ascii(file))
    return file


# --- GRUB Legacy ------------------------------------------------------------------------------------------


def _menu_lst(profile: Profile, context: FetchContext) -> Rendered:
    lines = [f"default {profile.default}"]
    if profile.timeout >= 0:
        lines.append(f"timeout {profile.timeout}")
    if profile.fallback:
        lines.append("fallback " + " ".join(map(str, profile.fallback)))
    warnings: list[str] = []
    for entry in profile.entries:
        lines += ["", *_menu_lst_entry(entry)]
        warnings += check_cmdline(entry)
    long = next((line for line in lines if len(line.encode()) > LEGACY_LINE_LIMIT), None)
    if long is not None:
        raise InexpressibleError(f"menu.lst has no lines above {LEGACY_LINE_LIMIT} bytes", found=ascii(long[:60]))
    return Rendered("\n".join(lines) + "\n", tuple(warnings))


def _menu_lst_entry(entry: Entry) -> Iterator[str]:
    if entry.title.startswith("="):
        raise _refuse(MENU_LST, entry.title, "a title that begins with =")
    for text in (entry.title, entry.args, *(module.args for module in entry.modules)):
        if text.endswith("\\"):
            raise _refuse(MENU_LST, entry.title, "a backslash at the end of a line joins lines")
    yield f"title {entry.title}"
    if entry.local:
        yield "configfile (hd0,0)/boot/grub/menu.lst"
        return
    if len(entry.initrd) > 1:
        raise _refuse(MENU_LST, entry.title, "several initrds")
    if entry.initrd and entry.modules:
        raise _refuse(MENU_LST, entry.title, "an initrd together with modules")
    yield "root (nd)"
    yield f"kernel (nd){_path_only(MENU_LST, entry, entry.kernel)} {entry.args}".rstrip()
    for initrd in entry.initrd:
        yield f"initrd (nd){_path_only(MENU_LST, entry, initrd)}"
    for module in entry.modules:
        yield f"module (nd){_path_only(MENU_LST, entry, module.file)} {module.args}".rstrip()


# --- GRUB 2 -----------------------------------------------------------------------------------------------


def _grub_cfg(profile: Profile, context: FetchContext) -> Rendered:
    lines = [f"set default={profile.default}", f"set timeout={profile.timeout}"]
    if profile.fallback:
        lines.append(f"set fallback='{' '.join(map(str, profile.fallback))}'")
    warnings: list[str] = []
    for index, entry in enumerate(profile.entries):
        lines += ["", f"menuentry {_grub_word(entry.title)} --id entry{index} {{"]
        lines += [f"    {line}" for line in _grub_entry(entry, context)]
        lines.append("}")
        warnings += check_cmdline(entry)
    if context.protocol in context.bases and urlsplit(context.bases[context.protocol]).port not in (None, 80, 69):
        warnings.append("GRUB 2.06 and older know no port in a device's name")
    return Rendered("\n".join(lines) + "\n", tuple(warnings))


def _grub_entry(entry: Entry, context: FetchContext) -> Iterator[str]:
    if entry.local:
        yield "exit"
        return
    multiboot = bool(entry.modules)
    words = [_grub_word(word) for word in _grub_arguments(entry, entry.args)]
    load = "multiboot" if multiboot else "linux"
    yield " ".join([load, _grub_word(_grub_file(entry, entry.kernel, context)), *words])
    if multiboot and entry.initrd:
        raise _refuse(GRUB_CFG, entry.title, "an initrd together with modules")
    if entry.initrd:
        yield " ".join(["initrd", *(_grub_word(_grub_file(entry, file, context)) for file in entry.initrd)])
    for module in entry.modules:
        words = [_grub_word(word) for word in _grub_arguments(entry, module.args)]
        yield " ".join(["module", _grub_word(_grub_file(entry, module.file, context)), *words])


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


# --- PXELINUX (and U-Boot, extlinux) ----------------------------------------------------------------------


def _pxelinux(profile: Profile, context: FetchContext) -> Rendered:
    warnings: list[str] = []
    lines = [f"DEFAULT entry{profile.default}", f"PROMPT {int(profile.timeout < 0)}"]
    if profile.timeout >= 0:
        # 0 would wait for ever: the shortest wait is a tenth of a second.
        lines.append(f"TIMEOUT {profile.timeout * 10 or 1}")
    lines.append(f"MENU TITLE {_no_caret(profile.title, profile.title)}")
    if profile.fallback:
        warnings.append("PXELINUX knows no fallback entries")
    for index, entry in enumerate(profile.entries):
        lines += ["", f"LABEL entry{index}", f"    MENU LABEL {_no_caret(entry.title, entry.title)}"]
        lines += [f"    {line}" for line in _pxelinux_entry(entry)]
        warnings += check_cmdline(entry)
    return Rendered("\n".join(lines) + "\n", tuple(warnings))


def _no_caret(text: str, entry: str) -> str:
    if "^" in text:
        raise _refuse(PXELINUX, entry, "^ marks a key and cannot be shown")
    return text


def _pxelinux_entry(entry: Entry) -> Iterator[str]:
    if entry.local:
        yield "LOCALBOOT 0"
        return
    if entry.modules:
        raise _refuse(PXELINUX, entry.title, "modules")
    yield f"LINUX {_path_only(PXELINUX, entry, entry.kernel)}"
    if entry.initrd:
        yield "INITRD " + ",".join(_path_only(PXELINUX, entry, file, " ,") for file in entry.initrd)
    if entry.args == "-":
        raise _refuse(PXELINUX, entry.title, "a single - as arguments means none")
    if any(word.startswith("initrd=") for word in entry.args.split()):
        raise _refuse(PXELINUX, entry.title, "initrd= in arguments names a file to load")
    if len(entry.args) > 2 and entry.args[0] == entry.args[-1] == '"' and '"' not in entry.args[1:-1]:
        raise _refuse(PXELINUX, entry.title, "quotes round all arguments, which readers take away")
    if entry.args:
        yield f"APPEND {entry.args}"


# --- iPXE -------------------------------------------------------------------------------------------------


def _ipxe(profile: Profile, context: FetchContext) -> Rendered:
    warnings: list[str] = []
    lines = ["#!ipxe", ""]
    if len(profile.entries) > 1 and profile.timeout != 0:
        lines += [f"menu {_ipxe_text(profile.title, profile.title)}"]
        lines += [f"item entry{i} {_ipxe_text(entry.title, entry.title)}" for i, entry in enumerate(profile.entries)]
        timeout = f" --timeout {profile.timeout * 1000}" if profile.timeout > 0 else ""
        lines += [f"choose --default entry{profile.default}{timeout} chosen && goto ${{chosen}} || exit"]
    else:
        lines += [f"goto entry{profile.default}"]
    for index, entry in enumerate(profile.entries):
        after = profile.fallback.index(index) + 1 if index in profile.fallback else 0
        goal = f"goto entry{profile.fallback[after]}" if after < len(profile.fallback) else "exit 1"
        lines += ["", f":entry{index}", *_ipxe_entry(entry, context, goal)]
        warnings += check_cmdline(entry)
    return Rendered("\n".join(lines) + "\n", tuple(warnings))


def _ipxe_entry(entry: Entry, context: FetchContext, on_failure: str) -> Iterator[str]:
    if entry.local:
        yield "exit"
        return
    yield "imgfree"
    if entry.modules and entry.initrd:
        raise _refuse(IPXE, entry.title, "an initrd together with modules")
    # A kernel started as an EFI program finds its initrds by these words; others ignore them.
    named = "".join(f" initrd=initrd{index}" for index in range(len(entry.initrd)))
    args = f" {_ipxe_text(entry.args, entry.title)}" if entry.args else ""
    yield f"kernel {_ipxe_file(entry, entry.kernel, context)}{named}{args} || {on_failure}"
    for index, initrd in enumerate(entry.initrd):
        yield f"initrd --name initrd{index} {_ipxe_file(entry, initrd, context)} || {on_failure}"
    for module in entry.modules:
        words = f" {_ipxe_text(module.args, entry.title)}" if module.args else ""
        yield f"module {_ipxe_file(entry, module.file, context)}{words} || {on_failure}"
    yield f"boot || {on_failure}"


def _ipxe_text(text: str, entry: str) -> str:
    """Words as they are: iPXE has no quotes, only words that separate commands and `${settings}`."""
    bad = next((word for word in text.split() if word in ("#", "||", "&&", ";")), None)
    if bad is not None:
        raise _refuse(IPXE, entry, f"the word {bad}")
    if "${" in text:
        raise _refuse(IPXE, entry, "${ begins a setting")
    if re.search(r"\s\s", text):
        raise _refuse(IPXE, entry, "two blanks in a row")
    return text


def _ipxe_file(entry: Entry, file: str, context: FetchContext) -> str:
    return _ipxe_text(file_url(file, context), entry.title)


def file_url(file: str, context: FetchContext) -> str:
    """The file as a URL; a path of this server without a known address stays a path."""
    if not file.startswith("/"):
        return file
    base = context.bases.get(context.protocol, "")
    # "$" is encoded too: iPXE would read a setting out of it.
    return base + quote(file, safe=_URL_SAFE.replace("$", "").replace("'", ""))


_RENDERERS: dict[str, Callable[[Profile, FetchContext], Rendered]] = {
    MENU_LST: _menu_lst,
    GRUB_CFG: _grub_cfg,
    PXELINUX: _pxelinux,
    IPXE: _ipxe,
}
