"""The documentation says what is there: options, keys, limits, routes; its links lead somewhere, its commands run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from fixtures import make_images
from pvboot.libxl.pygrub import options
from pvboot.serve import metrics
from pvboot.serve.config import Config, read_config
from pvboot.serve.dhcp import print_dhcp
from pvboot.serve.http.limits import HttpLimits
from pvboot.serve.images import ImageLimits
from pvboot.serve.limits import ServerLimits
from pvboot.serve.state.history import OUTCOMES
from pvboot.serve.state.names import read_name
from pvboot.serve.state.routes import ROUTES
from pvboot.serve.state.settings import ApiSettings, MenuSettings
from pvboot.serve.tftp.limits import TftpLimits
from tests import REPOSITORY
from tests.project.commands import Shell, commands_of, shell
from tools import write_man_pages

DOCS = REPOSITORY / "docs"
PAGES = [*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md")]
RUN_PAGES = [*REPOSITORY.glob("*.md"), *DOCS.glob("tutorial/*.md"), *DOCS.glob("how-to/*.md")]


@cache
def page(name: str) -> str:
    return (DOCS / name).read_text()


def section(name: str, title: str) -> str:
    found = re.search(rf"^### {title}\b.*?(?=^##)", page(name), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


def first_cells(name: str, pattern: str) -> list[str]:
    """What a pattern finds in the first cells of a page's tables."""
    rows = re.findall(r"^\| (.*?) \|", page(name), re.MULTILINE)
    return [found for row in rows for found in re.findall(pattern, row)]


def sources(folder: str) -> str:
    return "".join(path.read_text() for path in (REPOSITORY / folder).glob("*.py"))


# --- command lines


def long_options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def all_options(text: str) -> set[str]:
    return long_options(text) | set(re.findall(r"(?<![\w-])-[a-z](?![\w-])", text))


@cache
def usage(module: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *words, "--help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def verbs() -> list[str]:
    listed = re.search(r"verbs:\n(.*?)\n\n", usage("pvboot"), re.DOTALL)
    assert listed is not None
    return [line.split()[0] for line in listed[1].splitlines()]


def test_the_reference_has_every_verb_and_its_options() -> None:
    everywhere = {"--help", "--disk", "--config", "--net", "--sums", "--verbose", "--debug"}
    said = {verb: long_options(section("reference/command-line.md", f"pvboot {verb}")) - everywhere for verb in verbs()}
    assert said == {verb: long_options(usage("pvboot", verb)) - everywhere for verb in verbs()}


def test_the_boot_loaders_for_xl_take_show_and_describe_the_same_options() -> None:
    taken = {f"--{name.rstrip('=')}" for name in options._LONG} | {f"-{letter}" for letter in options._SHORT}
    assert all_options(usage("pvboot.libxl.pygrub", "disk.img")) == taken - {"--help", "-h"}
    assert all_options(page("reference/pvboot-pygrub.md")) == taken
    netboot = all_options(usage("pvboot.libxl.netboot")) - {"--help", "-h"}
    assert all_options(page("reference/pvboot-netboot.md")) == netboot


@pytest.mark.parametrize("program", write_man_pages.PAGES)
def test_the_man_pages_are_made_of_the_reference(program: str) -> None:
    assert (DOCS / f"man/{program}.1").read_text() == write_man_pages.man_page(program), "make generate"


# --- plans


def test_a_test_is_named_for_each_of_the_sixteen_invariants_of_plans() -> None:
    rows = re.findall(r"^\| (\d+)(?: v)? \| .* \| (`test_.*) \|$", page("reference/kexec-plan.md"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 17))
    tests = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    named = [name for _, cell in rows for name in re.findall(r"`(test_\w+)`", cell)]
    assert not [name for name in named if f"def {name}(" not in tests]


def test_every_key_of_a_plan_in_json_is_described(run_cli: Any, images: Callable[[str], Path]) -> None:
    described = set(re.findall(r"`(\w+)`", page("reference/kexec-plan.md")))
    domain = json.loads(run_cli("plan", images("ext2.img"), "--json").stdout)
    whole = json.loads(run_cli("boot", images("ext2.img"), "--handoff", "plan", "--json").stdout)
    plan = whole["plan"]
    parts = [domain, whole, whole["kexec"], plan, plan["moves"][0], plan["trampoline"], plan["cost"]]
    parts += [*plan["loader_tables"], *plan["operations"]]
    assert not set().union(*parts) - described - {"op"}
    assert {operation["op"] for operation in plan["operations"]} <= described


# --- the netboot server

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "s": 1}


def value_of(text: str) -> object:
    """A default as a page writes it."""
    number, _, unit = text.partition(" ")
    if not number.replace(".", "", 1).isdigit():
        return {"none": None, "any": None, "no": False}[text]
    return float(number) * UNITS.get(unit, 1)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (ServerLimits, "serve-config"),
        (ImageLimits, "serve-config"),
        (TftpLimits, "tftp-server"),
        (HttpLimits, "http-server"),
    ],
)
def test_every_limit_is_there_with_its_default(model: type[BaseModel], name: str) -> None:
    table = next(
        text for text in page(f"reference/{name}.md").split("\n\n") if f"| `{next(iter(model.model_fields))}`" in text
    )
    said: dict[str, object] = {}
    for names, values in re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.MULTILINE):
        keys = re.findall(r"`(\w+)`", names)
        said |= dict(zip(keys, map(value_of, values.split(", ")), strict=True))
    assert said == {key: field.default for key, field in model.model_fields.items()}


def keys_of(model: type[BaseModel]) -> Iterator[str]:
    """Every key of a model and of the models below it."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from keys_of(kind)


def test_every_key_of_the_configuration_is_described() -> None:
    config = page("reference/serve-config.md")
    named = set(
        re.findall(r"[`.\[](\w+)", config + page("reference/tftp-server.md") + page("reference/http-server.md"))
    )
    assert {key.removesuffix("_file") for key in keys_of(Config)} - named == set()
    api = [f"api.{key}" for key in ApiSettings.model_fields if not key.endswith("_file")]
    assert [
        key for key in [*api, *(f"menus.{key}" for key in MenuSettings.model_fields)] if f"`{key}`" not in config
    ] == []


def examples(name: str, folder: Path) -> list[str]:
    """The TOML blocks of a page, their paths below a folder, where what they name is made."""
    found = []
    for text in re.findall(r"```toml\n(.*?)```", page(name), re.DOTALL):
        for key, path in re.findall(r'^(\w+) = "(/.*?)"', text, re.MULTILINE):
            if key in ("images", "directory"):
                (folder / path[1:]).mkdir(parents=True, exist_ok=True)
            elif key in ("image", "write_token_file"):
                (folder / path[1:]).parent.mkdir(parents=True, exist_ok=True)
                (folder / path[1:]).write_text("0123456789abcdef\n")
            else:
                continue
            text = text.replace(f'"{path}"', f'"{folder}{path}"')
        found.append(text)
    return found


def test_the_examples_of_servers_are_configurations(tmp_path: Path) -> None:
    configs = [read_config(text.encode(), "serve.toml") for text in examples("how-to/serve-guests.md", tmp_path)]
    assert [bool(config.content) for config in configs] == [True, True]
    assert all("192.0.2.50" in print_dhcp(configs[1], kind) for kind in ("dnsmasq", "kea"))


def test_the_examples_of_profiles_are_configurations(tmp_path: Path) -> None:
    config = read_config("\n".join(examples("how-to/boot-profiles.md", tmp_path)).encode(), "serve.toml")
    assert (set(config.profiles), set(config.clients)) == ({"rescue", "web"}, {"web1", "db1"})
    assert config.api.writer is not None


def test_the_names_of_menus_in_the_page_are_menus() -> None:
    names = re.findall(r"`((?:menu\.lst|grub\.cfg|boot\.ipxe)[^`]*)`", page("how-to/boot-profiles.md"))
    concrete = [name for name in names if "$" not in name and "MAC" not in name]
    assert len(concrete) > 6
    assert [name for name in concrete if read_name(f"/boot/{name}", "/boot") is None] == []


def test_every_route_and_outcome_of_the_api_is_described() -> None:
    described = {
        (method, f"/api/v1{path}")
        for cell in first_cells("reference/serve-api.md", r".+")
        for methods, path in re.findall(r"^`(GET.*?) (/[^`?]*)", cell)
        for method in re.findall("[A-Z]+", methods)
    }
    assert described == {(route.method, route.path) for route in ROUTES}
    assert set(first_cells("reference/serve-api.md", r"^`([a-z-]+)`$")) == set(OUTCOMES)


def test_every_metric_and_event_is_described() -> None:
    cells = set(first_cells("reference/serve-config.md", r"`([\w-]+)`"))
    assert {f"pvboot_{name}" for name in metrics._HELP} <= cells
    events = set(re.findall(r'\bsay\(\s*"([a-z-]+)"', sources("pvboot/serve")))
    assert "transfer" in events
    assert events <= cells


@pytest.mark.parametrize("protocol", ["http", "tftp"])
def test_every_count_is_described(protocol: str) -> None:
    counted = set(re.findall(r'count\("(\w+)"', sources(f"pvboot/serve/{protocol}")))
    assert set(first_cells(f"reference/{protocol}-server.md", rf"`({protocol}_\w+)`")) == counted


def test_every_status_that_http_answers_is_described() -> None:
    answers = re.findall(r"(?:refusal|refuse|_refuse|_plain)\((?:who, )?(\d{3})", sources("pvboot/serve/http"))
    assert len(answers) > 5
    assert set(answers) <= set(re.findall(r"\b[1-5]\d\d\b", page("reference/http-server.md")))


# --- links and commands


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_between_pages_lead_to_files_and_their_titles() -> None:
    broken = [
        f"{path.relative_to(REPOSITORY)}: {file}#{anchor}"
        for path in PAGES
        for file, anchor in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", path.read_text())
        if not (there := path.parent / file if file else path).exists() or (anchor and anchor not in anchors(there))
    ]
    assert not broken


def test_the_tests_that_pages_name_are_there() -> None:
    named = {name for path in PAGES for name in re.findall(r"`(tests/[\w/]+\.py)`", path.read_text())}
    assert len(named) > 2
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


# What cannot run here; the first pattern that a command matches gives the reason.
NOT_RUN = {
    r"make |pytest |\S+ -m pytest": "the suite itself, or what it stands on",
    r"pvboot serve /etc/\S+ --check-config": "needs the user and the certificate of that host",
    r"xl |useradd|systemctl": "changes the host, as root",
    r".*\bpip install|.*-m venv|ln ": "installs",
    r".*(tftp://|s3://|\bdask\b)": "needs a server of its own, as tests/fetch and tests/check start them",
    r"gpgv": "needs a signature",
    r".*#sha256=\w+\.\.\.": "a shortened checksum",
}
BEFORE = {"boot-profiles.md": ["pvboot serve serve.toml"]}
TYPED = {"pvboot boot .parts/debian.img --entry 1": "exit\n"}
ANSWERS = {"jq -r .outcome.reason result.json": "until\n"}
SLOW = {"first-boot.md"}  # boots Debian


def test_each_reason_not_to_run_a_command_holds_for_some() -> None:
    commands = [command for path in RUN_PAGES for command in commands_of(path)]
    assert [pattern for pattern in NOT_RUN if not any(re.match(pattern, command) for command in commands)] == []


@pytest.fixture
def scratch(parts: Callable[[str], Path], images: Callable[[str], Path]) -> Iterator[Shell]:
    """A shell where the files are that the pages speak of."""
    tree = make_images.tiny_tree("(hd0)")
    kernel = make_images.kernel("tiny64.elf")
    menu = b"".join(
        b"title %s\nroot (hd0)\nkernel /boot/tiny64.elf root=/dev/xvda1 console=hvc0 Xen: login:\n" % title
        for title in (b"Debian", b"Debian (recovery mode)")
    )
    tree["boot/grub/menu.lst"] = menu
    contents = {
        "www/guest/menu.lst": menu.replace(b"(hd0)", b"(nd)").replace(b"/boot/", b"/guest/"),
        "www/guest/tiny64.elf": kernel,
        "www/fedora/images/pxeboot/vmlinuz": kernel,
        "www/fedora/images/pxeboot/initrd.img": make_images.MODULE,
        "vmlinuz": kernel,
        "initrd.img": make_images.MODULE,
        "etc/pvboot/token": b"0123456789abcdef\n",
    }
    contents |= {f"www/images/debian/{name}": data for name, data in tree.items() if isinstance(data, bytes)}
    contents |= dict.fromkeys(["menu.lst", "boot/grub/menu.lst", "etc/xen/templates/menu.lst"], menu)
    copies = [
        "images/a.img",
        "dev/vg0/guest",
        "srv/images/a.img",
        "srv/guests/debian.img",
        "srv/iso/debian-12-netinst.iso",
    ]
    copies += ["www/disk.img", "www/images/debian.img"]
    links = {name: REPOSITORY / name for name in ("fixtures", "tests", "tools", "pvboot", "fsdrivers", "grammars")}
    links |= {".parts/oracle": parts("oracle"), ".parts/images/mbr.img": images("mbr.img"), ".venv": Path(sys.prefix)}
    with shell() as opened:
        top = opened.folder
        for name in ("tmp", "etc/dnsmasq.d", "etc/systemd/system", "usr/lib/ipxe"):
            (top / name).mkdir(parents=True)
        make_images.make_ext(top / "disk.img", tree, 4 << 20)
        for name in (*contents, *copies, *links, "var/lib/pvboot/state.db"):
            (top / name).parent.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            (top / name).write_bytes(data)
        for name in copies:
            (top / name).hardlink_to(top / "disk.img")
        for name, target in links.items():
            (top / name).symlink_to(target)
        (top / "var/lib/pvboot").chmod(0o777)
        yield opened


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.name, marks=[pytest.mark.slow] * (path.name in SLOW)) for path in RUN_PAGES]
)
def test_the_commands_of_a_page_run(path: Path, scratch: Shell, request: pytest.FixtureRequest) -> None:
    commands = [command for command in commands_of(path) if not any(re.match(pattern, command) for pattern in NOT_RUN)]
    if any(".parts/debian.img" in command for command in commands):
        (scratch.folder / ".parts/debian.img").symlink_to(request.getfixturevalue("images")("debian.img"))
    scratch.write_files(path)
    if not (scratch.folder / "serve.toml").exists():
        scratch.write_files(DOCS / "how-to/serve-guests.md")
    for command in [*BEFORE.get(path.name, []), *commands]:
        done = scratch.run(command, TYPED.get(command, ""))
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr}"
        assert done.stdout == ANSWERS.get(command, done.stdout)
