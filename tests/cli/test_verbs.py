"""The command line: verbs, exit codes, JSON, one-line errors, what is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fsdrivers.extract import walk
from pvboot import __version__
from pvboot.cli.main import VERBS, main, verb_parser
from pvboot.device_names import Device
from pvboot.errors import PvbootError
from pvboot.sources import open_devices
from tests.conftest import RunCli

HEAVY = {"requests", "tftpy", "unicorn", "numpy", "asyncio", "rich", "construct", "pydantic", "jinja2"}


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """A guest's disk as a directory, with names that are hard on terminals."""
    root = tmp_path / "guest"
    (root / "boot/grub").mkdir(parents=True)
    (root / "boot/grub/menu.lst").write_bytes(
        b"default 1\ntimeout 5\nfallback 0\nfoo\ntitle A\nkernel /k a=1\n"
        b"title B \xff\nroot (hd0)\nkernel /k  b\ninitrd /i x\n"
    )
    (root / "k").write_bytes(b"kernel\0\xff")
    (root / "link").symlink_to("/k")
    (root / os.fsdecode(b"evil\x1b[2J\xff\n")).write_bytes(b"")
    return root


# --- the frame


def test_version(run_cli: RunCli) -> None:
    done = run_cli("--version")
    assert (done.returncode, done.stdout) == (0, f"pvboot {__version__}\n")


def test_help_names_every_verb(run_cli: RunCli) -> None:
    done = run_cli("--help")
    assert done.returncode == 0
    assert all(f"\n  {verb} " in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_gives_examples(run_cli: RunCli, verb: str) -> None:
    done = run_cli(verb, "--help")
    assert done.returncode == 0
    assert f"pvboot {verb}" in done.stdout
    assert "examples:" in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_the_shape(verb: str) -> None:
    _parser, module = verb_parser(verb)
    assert "\n" not in module.HELP
    assert callable(module.run)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["menu"], ["menu", "--nonsense"], ["cat", "x"], ["ls", "a", "b", "c"]]
)
def test_wrong_usage_is_one_line_and_exit_code_2(run_cli: RunCli, arguments: list[str]) -> None:
    done = run_cli(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("pvboot") and done.stderr.count("\n") == 1


def test_no_verb_shows_the_help(run_cli: RunCli) -> None:
    done = run_cli()
    assert done.returncode == 2
    assert "usage: pvboot" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["menu", "{0}/nowhere"], 3),
        (["menu", "{0}/boot/grub"], 1),
        (["menu", "{0}", "--config", "/nope"], 1),
        (["menu", "nothing://example.org/x"], 3),
        (["menu", "/dev/null"], 3),
        (["ls", "{0}", "/nope"], 1),
        (["ls", "{0}", "(hd0,7)/"], 1),
        (["ls", "{0}", "(hd0"], 1),
        (["cat", "{0}", "/nope"], 1),
        (["cat", "{0}", "/boot"], 1),
        (["cat", "{0}", "(hd3)/k"], 1),
        (["cp", "{0}", "/boot", "{0}/x"], 2),
        (["cp", "{0}", "/k", "/proc/nowhere/x"], 1),
    ],
)
def test_error_is_one_line_with_its_exit_code(run_cli: RunCli, guest: Path, arguments: list[str], code: int) -> None:
    done = run_cli(*[argument.format(guest) for argument in arguments])
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("pvboot: ") and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("problem", "code", "stderr"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 0, ""),
        (PvbootError("no \x1b", where="x"), 3, "pvboot: x: no \\x1b\n"),
        (OSError(28, "No space left on device", "/out"), 1, "pvboot: /out: No space left on device\n"),
        (
            RecursionError("deep"),
            3,
            "pvboot: internal error, please report it: RecursionError: deep (--debug shows where)\n",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exception_becomes_a_line_and_a_code(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], problem: BaseException, code: int, stderr: str
) -> None:
    def run(_args: object) -> int:
        raise problem

    monkeypatch.setattr("pvboot.cli.menu.run", run)
    monkeypatch.setattr("pvboot.cli.main._reader_is_gone", lambda: 0)
    assert main(["menu", "x"]) == code
    assert capfd.readouterr().err == stderr


def test_debug_shows_the_traceback(run_cli: RunCli, guest: Path) -> None:
    assert "Traceback" in run_cli("cat", "--debug", guest, "/nope").stderr


@pytest.mark.parametrize("kind", ["zeros", "noise", "text and NUL", "half an image"])
def test_damaged_image_is_one_line_and_no_traceback(
    run_cli: RunCli, tmp_path: Path, images: Callable[[str], Path], kind: str
) -> None:
    content = {
        "zeros": bytes(100_000),
        "noise": bytes(range(256)) * 400,
        "text and NUL": b"title\0" * 100,
        "half an image": images("mbr.img").read_bytes()[:1_100_000],
    }[kind]
    (tmp_path / "x.img").write_bytes(content)
    done = run_cli("menu", tmp_path / "x.img")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1, done.stderr


def test_closed_pipe_is_quiet(images: Callable[[str], Path]) -> None:
    command = [sys.executable, "-m", "pvboot", "cat", str(images("mbr.img")), "/boot/module.txt"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")


@pytest.mark.parametrize("arguments", [["menu", "{0}"], ["menu", "--json", "{0}"], ["ls", "{0}"], ["--help"]])
def test_light_verbs_import_nothing_heavy(images: Callable[[str], Path], arguments: list[str]) -> None:
    script = (
        "import sys\nfrom pvboot.cli.main import main\ncode = main(sys.argv[1:])\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\nsys.exit(code)"
    )
    command = [sys.executable, "-c", script, *[argument.format(images("mbr.img")) for argument in arguments]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # The help text needs no data types; `inspect` behind `dataclasses` alone is a quarter of its time.
    heavy = HEAVY | {"dataclasses", "inspect"} if arguments == ["--help"] else HEAVY
    assert not heavy & set(done.stderr.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_verbs_and_options(run_cli: RunCli, shell: str) -> None:
    done = run_cli("completion", shell)
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)
    assert "config" in done.stdout
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=done.stdout, text=True).returncode == 0


# --- menu


def test_menu_json(run_cli: RunCli, guest: Path) -> None:
    done = run_cli("menu", "--json", guest)
    assert (done.returncode, done.stderr) == (0, "")
    root = {"id": None, "submenu": [], "locked": False, "root": "(hd0)", "kernel": "/k"}
    assert json.loads(done.stdout) == {
        "source": str(guest),
        "menu": {"volume": "(hd0)", "path": "/boot/grub/menu.lst", "dialect": "menu.lst"},
        "default": 1,
        "fallback": [0],
        "timeout": 5,
        "hidden": False,
        "entries": [
            {"index": 0, "title": "A", "line": 5, "args": "a=1", "modules": [], "initrds": [], **root},
            {
                "index": 1,
                "title": "B \udcff",
                "line": 7,
                "args": "b",
                "modules": [{"path": "/i", "args": ""}],
                "initrds": ["/i"],
                **root,
            },
        ],
        "warnings": ["(hd0)/boot/grub/menu.lst:4:1: unknown command 'foo' is skipped"],
    }


def test_menu_text(run_cli: RunCli, guest: Path) -> None:
    done = run_cli("menu", guest)
    assert "* 1  B \\xff\n      kernel (hd0)/k b\n      initrd /i\n" in done.stdout
    assert done.stderr == "pvboot: warning: (hd0)/boot/grub/menu.lst:4:1: unknown command 'foo' is skipped\n"


def test_entry_without_kernel_and_menu_without_timeout(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("title A\nconfigfile (hd0,0)/x\n")
    document = json.loads(run_cli("menu", "--json", tmp_path / "m").stdout)
    assert (document["timeout"], document["entries"][0]["kernel"], document["entries"][0]["root"]) == (None, None, None)


def test_menu_without_entries_is_a_no(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("timeout 5\n")
    done = run_cli("menu", "--json", tmp_path / "m")
    assert done.returncode == 1
    assert json.loads(done.stdout)["entries"] == []


# --- ls, cat, cp


def test_ls_json(run_cli: RunCli, guest: Path) -> None:
    document = json.loads(run_cli("ls", "--json", guest).stdout)
    assert (document["volume"], document["path"]) == ("(hd0)", "/")
    named = {entry["name"]: entry for entry in document["entries"]}
    assert named["k"] == {"name": "k", "path": "/k", "type": "file", "size": 8, "target": None}
    assert (named["link"]["type"], named["link"]["target"]) == ("symlink", "/k")
    assert named["boot"]["type"] == "dir"
    assert "evil\x1b[2J\udcff\n" in named


def test_ls_recursive_is_one_flat_list(run_cli: RunCli, images: Callable[[str], Path]) -> None:
    document = json.loads(run_cli("ls", "-R", "--json", images("mbr.img"), "/boot").stdout)
    paths = [entry["path"] for entry in document["entries"]]
    assert "/boot/grub" in paths and "/boot/grub/menu.lst" in paths


def test_listing_ends_at_its_limit(images: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsdrivers.extract.LISTED_LIMIT", 3)
    with open_devices(str(images("mbr.img"))) as devices, pytest.raises(PvbootError, match="too many names"):
        list(walk(devices.mount(Device("hd", 0, 0)), "/", recursive=True))


def test_ls_escapes_names(run_cli: RunCli, guest: Path) -> None:
    assert "evil\\x1b[2J\\xff\\x0a\n" in run_cli("ls", guest).stdout


def test_ls_of_a_file_and_of_another_disk(run_cli: RunCli, guest: Path, images: Callable[[str], Path]) -> None:
    assert run_cli("ls", guest, "/k").stdout == "k\n"
    assert "module.txt" in run_cli("ls", "-l", guest, "(hd1,0)/boot", "--disk", images("mbr.img")).stdout


def test_path_is_looked_up_on_the_first_volume_that_has_it(run_cli: RunCli, images: Callable[[str], Path]) -> None:
    document = json.loads(run_cli("ls", "--json", images("mbr.img"), "/tiny64.elf").stdout)
    assert document["volume"] == "(hd0,4)"


def test_cat_gives_the_bytes(guest: Path) -> None:
    command = [sys.executable, "-m", "pvboot", "cat", str(guest), "(hd0,0)/link"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"kernel\0\xff"


def test_cp_file_into_a_directory_and_under_a_name(run_cli: RunCli, guest: Path, tmp_path: Path) -> None:
    for dest in (tmp_path, tmp_path / "name"):
        assert run_cli("cp", guest, "/k", dest).returncode == 0
    assert (tmp_path / "k").read_bytes() == (tmp_path / "name").read_bytes() == b"kernel\0\xff"


def test_cp_tree(run_cli: RunCli, images: Callable[[str], Path], tmp_path: Path) -> None:
    done = run_cli("cp", "-r", images("mbr.img"), "(hd0,0)/", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out/vmlinuz").readlink() == Path("boot/tiny64.elf")
    assert (tmp_path / "out/boot/grub/grub.conf").is_symlink()
    assert b"title" in (tmp_path / "out/boot/grub/menu.lst").read_bytes()


def test_cp_does_not_write_through_links_at_the_destination(run_cli: RunCli, guest: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "k").symlink_to(victim)
    assert run_cli("cp", guest, "/k", tmp_path / "k").returncode == 1
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "verb",
    [["menu"], ["ls"], ["cat", "/boot/grub/menu.lst"], ["plan"], ["boot", "--handoff", "plan"]],
    ids=lambda verb: verb[0],
)
def test_verbose_tells_the_volumes(run_cli: RunCli, images: Callable[[str], Path], verb: list[str]) -> None:
    image = images("mbr.img")
    done = run_cli(verb[0], image, *verb[1:], "-v")
    assert done.returncode == 0, done.stderr
    assert "pvboot: (hd0,0): ext" in done.stderr
    assert run_cli(verb[0], image, *verb[1:]).stdout == done.stdout
