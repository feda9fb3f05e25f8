"""The words of descriptions (texts, names, files), and reading a description from a TOML table or a JSON body."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from pvboot.serve.state.errors import DescriptionError
from pvboot.validation import join, mistakes_of, refuse, show

T = TypeVar("T")

TEXT_LIMIT = 4096  # characters
_SCHEMES = ("http", "https", "tftp")


def _one_line(text: str) -> str:
    """Refuse control characters: they end lines in menus and move cursors on terminals."""
    bad = next((char for char in text if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")), None)
    if bad is not None:
        raise refuse("holds a control character", found=f"U+{ord(bad):04X}")
    if text != text.strip():
        raise refuse("begins or ends with a blank", found=show(text))
    return text


def _path_component(name: str) -> str:
    if "/" in name or name in (".", ".."):
        raise refuse("not a name", expected="no slash", found=show(name))
    return name


def clean_path(path: str) -> str:
    """Validate an absolute path without empty parts, `.` and `..`; "/" itself is not one."""
    if not path.startswith("/") or any(part in ("", ".", "..") for part in path[1:].split("/")):
        raise refuse("not a clean path", expected="/NAME without empty parts, . and ..", found=show(path))
    return path


def _path_or_url(file: str) -> str:
    if file.startswith("/"):
        return clean_path(file)
    try:
        parts = urlsplit(file)
        host = parts.hostname
    except ValueError:
        raise refuse("not a URL", found=show(file)) from None
    if parts.scheme not in _SCHEMES or not host or any(char.isspace() for char in file):
        raise refuse("neither a path nor a URL", expected="/path, http:, https: or tftp:", found=show(file))
    return file


Line = Annotated[str, Field(max_length=TEXT_LIMIT), AfterValidator(_one_line)]  # may be empty
Title = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_one_line), AfterValidator(_path_component)]
File = Annotated[
    str,
    Field(min_length=1, max_length=1024, description="path of the content, or URL"),
    AfterValidator(_one_line),
    AfterValidator(_path_or_url),
]


def read_body(kind: type[T], value: Any, where: str) -> T:
    """A value of a model.  Raises the `DescriptionError` of the first mistake; its place counts from `where`."""
    adapter = TypeAdapter(kind)
    try:
        return adapter.validate_python(value)
    except ValidationError as err:
        first = mistakes_of(err, adapter)[0]
        raise DescriptionError(
            first.what, where=join(where, first.at), expected=first.expected, found=first.found
        ) from err
