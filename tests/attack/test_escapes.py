"""Attacker code in place of each confined job, as root's child and as a user's: every escape is refused."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from fixtures.make_images import make
from pvboot.check import fleet, run_entry
from pvboot.check.model import CheckOptions
from pvboot.confine import parent, preload
from pvboot.confine.child import Channel
from pvboot.confine.jobs import CODE, FILES, NETWORK, NOBODY, TERMINAL, Grants, SandboxError
from pvboot.libxl.netboot import main as netboot
from pvboot.libxl.pygrub import guest
from pvboot.libxl.pygrub import main as pygrub
from pvboot.serve import images
from pvboot.serve.images import ImageLimits, ImageStore
from tests.attack.escapes import ESCAPES, Target, try_all

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="calls are made by their numbers")
USER = 12345

Attack = Callable[..., NoReturn]
Job = Callable[[Attack, pytest.MonkeyPatch, str], str]


# --- the jobs: each runs the attack where the program would read foreign bytes, and gives what it said -----


def said_by(start: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> str:
    """The error of the child that a program starts."""
    reports: list[parent.Report] = []
    run = parent.run

    def recorded(*arguments: Any, **options: Any) -> parent.Report:
        reports.append(run(*arguments, **options))
        return reports[-1]

    monkeypatch.setattr(parent, "run", recorded)
    with contextlib.suppress(SystemExit):
        start()
    return str(reports[-1].get("error"))


def boot_loader(attack: Attack, monkeypatch: pytest.MonkeyPatch, folder: str) -> str:
    monkeypatch.setattr(guest, "read_guest", attack)
    return said_by(lambda: pygrub.run(["-q", f"--output-directory={folder}/out", f"{folder}/disk"]), monkeypatch)


def boot_menu(attack: Attack, monkeypatch: pytest.MonkeyPatch, folder: str) -> str:
    monkeypatch.setattr(guest, "read_guest", attack)
    monkeypatch.setattr(pygrub, "_terminal_kept", contextlib.nullcontext)
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    return said_by(lambda: pygrub.run([f"--output-directory={folder}/out", f"{folder}/disk"]), monkeypatch)


def netboot_from(location: str) -> Job:
    def job(attack: Attack, monkeypatch: pytest.MonkeyPatch, folder: str) -> str:
        monkeypatch.setattr(netboot, "_work", attack)
        place = location.format(folder=folder)
        return said_by(lambda: netboot.run([f"--location={place}", f"--output-directory={folder}/out"]), monkeypatch)

    return job


def image_server(attack: Attack, monkeypatch: pytest.MonkeyPatch, folder: str) -> str:
    monkeypatch.setattr(images, "serve_image", attack)
    forks = images.start_fork_server()
    try:
        image = ImageStore(forks, ImageLimits()).image("disk", os.open(f"{folder}/disk", os.O_RDONLY))
        image.find(-1, "/")
    except images.ImageError as err:
        return str(err)
    finally:
        forks.close()
    return "nothing"


def check_of(source: str, depth: str = "kernel") -> Job:
    def job(attack: Attack, monkeypatch: pytest.MonkeyPatch, folder: str) -> str:
        monkeypatch.setattr(fleet, "check_source", attack)
        error = fleet.check_confined(source.format(folder=folder), CheckOptions(depth=depth)).error
        return "nothing" if error is None else error.message

    return job


def entry(attack: Attack, monkeypatch: pytest.MonkeyPatch, folder: str) -> str:
    class Layout:
        nr_pages = 1

    monkeypatch.setattr(run_entry, "_start", attack)
    with pytest.raises(SandboxError) as failed:
        run_entry.run_layout(Layout(), None, 1.0)  # type: ignore[arg-type]
    return str(failed.value)


# name -> rights beyond none, modules that the child's parent loads, the job
JOBS: dict[str, tuple[int, str, Job]] = {
    "the boot loader's reader": (0, "boot-loader", boot_loader),
    "the boot loader's menu": (TERMINAL, "boot-menu", boot_menu),
    "netboot's reader of an image": (0, "netboot", netboot_from("{folder}/disk")),
    "netboot's reader of a directory": (FILES, "netboot", netboot_from("{folder}/tree")),
    "netboot's fetcher": (NETWORK, "fetch", netboot_from("http://127.0.0.1:1/")),
    "the server's reader of an image": (0, "image-reader", image_server),
    "the check of an image": (0, "check", check_of("{folder}/disk")),
    "the check of a directory": (FILES, "check", check_of("{folder}/tree")),
    "the check of a URL": (NETWORK | CODE, "fetch", check_of("http://127.0.0.1:1/disk.img")),
    "the check that runs entries": (CODE, "check-run", check_of("{folder}/disk", "run")),
    "the run of an entry": (CODE, "machine", entry),
}


# --- the harness ------------------------------------------------------------------------------------------


@pytest.fixture
def target() -> Iterator[tuple[str, list[socket.socket]]]:
    """A folder that everybody may enter, with a victim in it, and sockets that nobody may reach."""
    with tempfile.TemporaryDirectory(prefix="pvboot-attack-") as folder, contextlib.ExitStack() as stack:
        os.chmod(folder, 0o777)
        place = Path(folder)
        make("ext2.img", place).rename(place / "disk")
        (place / "tree" / "boot").mkdir(parents=True)
        (place / "secret").write_text("secret")
        for name in ("out", "empty"):
            (place / name).mkdir()
            (place / name).chmod(0o777)
        sockets = []
        for family, kind, address in (
            (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            (socket.AF_UNIX, socket.SOCK_STREAM, f"{folder}/socket"),
            (socket.AF_UNIX, socket.SOCK_DGRAM, f"{folder}/datagrams"),
            (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{folder}"),
        ):
            sockets.append(stack.enter_context(socket.socket(family, kind)))
            sockets[-1].bind(address)
            if kind == socket.SOCK_STREAM:
                sockets[-1].listen()
        for path in place.rglob("*"):
            if not path.is_dir():
                path.chmod(0o666)
        yield folder, sockets


def in_process_of(uid: int, work: Callable[[], str]) -> str:
    """What `work` says in a process of that user; the interpreter itself need not be readable to them."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        said = "the harness failed"
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            said = work()
        except BaseException as err:
            said = f"{type(err).__name__}: {err}"
        finally:
            os.write(send, said.encode("utf-8", "replace"))
            os._exit(0)
    os.close(send)
    with open(receive, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


HARMLESS = (
    "read a file",
    "change a mode",
    "change a time",
    "look at a file",
    "list a directory",
    "fork",
    "a pipe",
    "a Unix socket",
    "an abstract socket",
    "TCP",
    "UDP",
    "executable memory",
    "a file in memory",
    "set a timer",
    "hold the parent",
    "set an attribute",
    "a watch on files",
    "memory made executable",
)


def test_without_confinement_the_attempts_succeed(target: tuple[str, list[socket.socket]]) -> None:
    """The tests below would say nothing if the attempts failed by themselves."""
    folder, sockets = target
    tcp, udp = (sock.getsockname()[1] for sock in sockets[:2])

    def attack(_channel: Channel) -> NoReturn:
        raise SandboxError(json.dumps(try_all(Target(folder, tcp, udp, os.getppid()), HARMLESS)))

    said = parent.run(pygrub.READER, attack, Grants(confined=False)).get("error")
    assert json.loads(str(said)) == dict.fromkeys(HARMLESS, "done")


@pytest.mark.parametrize("uid", [0, USER], ids=["root", "user"])
@pytest.mark.parametrize("name", JOBS)
def test_every_escape_is_refused(
    name: str, uid: int, target: tuple[str, list[socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be both")
    rights, modules, job = JOBS[name]
    folder, sockets = target
    for owned in (Path(folder) / "secret", Path(folder) / "tree"):
        os.chown(owned, uid or NOBODY, -1)
    preload.preload(modules)
    tcp, udp = (sock.getsockname()[1] for sock in sockets[:2])
    starter: list[int] = []

    def attack(*_arguments: object) -> NoReturn:
        raise SandboxError(f"let through: {json.dumps(try_all(Target(folder, tcp, udp, starter[0])))}")

    def work() -> str:
        starter.append(os.getpid())
        return job(attack, monkeypatch, folder)

    said = in_process_of(uid, work)
    before, mark, after = said.partition("let through: ")
    assert mark, before
    let_through, _end = json.JSONDecoder().raw_decode(after)
    allowed = {escape for escape, needed, _attempt in ESCAPES if rights & needed}
    assert {escape: how for escape, how in let_through.items() if escape not in allowed} == {}
    assert len(ESCAPES) - len(allowed) >= 30
    assert (Path(folder) / "secret").read_text() == "secret"
    assert {path.name for path in Path(folder).iterdir()} == {
        "disk",
        "tree",
        "secret",
        "out",
        "empty",
        "socket",
        "datagrams",
    }
    for sock in sockets[0 if not rights & NETWORK else 2 :]:
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1) if sock.type == socket.SOCK_DGRAM else sock.accept()
