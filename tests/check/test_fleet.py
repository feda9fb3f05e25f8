"""Many sources: the same findings whatever does the work, and whatever happens to those who do it."""

from __future__ import annotations

import ctypes
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.check import codec, fleet
from pvboot.check.engine import check_source
from pvboot.check.fleet import LIMITS, check_confined, run_fleet
from pvboot.check.journal import StateFile, key_of
from pvboot.check.model import CheckOptions, SourceResult
from pvboot.check.progress import bar
from pvboot.check.recurse import sources_below
from pvboot.errors import UsageError
from tests import REPOSITORY
from tests.check.fleets import RESULTS, make_fleet, make_guest

RunCli = Callable[..., "subprocess.CompletedProcess[Any]"]
OPTIONS = CheckOptions()


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Six images; do not write to them."""
    return make_fleet(tmp_path_factory.mktemp("fleet"), 6)


# --- between processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", RESULTS)
def test_a_result_comes_back_as_it_was_sent(result: SourceResult) -> None:
    line = codec.encode(result)
    assert "\n" not in line and line.isascii()
    assert codec.decode(line) == result


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(st.sampled_from(["source", "findings", "error", "menus", "titles", "excerpts"]), x)
        ),
    )
)
def test_no_answer_of_a_reader_is_more_than_a_value_error(data: object) -> None:
    with pytest.raises(ValueError):
        codec.decode(json.dumps(data))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("findings", [["r", "fatal", "m", "f", 0, 0, 0, None]]),
        ("findings", [["r", "error", "m", "f", -1, 0, 0, None]]),
        ("findings", [["r", "error", "m", "f", True, 0, 0, None]]),
        ("findings", {}),
        ("error", ["m", "c", 99]),
        ("error", ["m", "c"]),
        ("source", None),
        ("excerpts", [["f", 1]]),
        ("titles", []),
        ("menus", [1]),
    ],
)
def test_a_damaged_result_is_refused(field: str, value: object) -> None:
    data = json.loads(codec.encode(RESULTS[0]))
    with pytest.raises(ValueError):
        codec.decode(json.dumps({**data, field: value}))


# --- one source in a process of its own -------------------------------------------------------------------


def test_a_confined_check_finds_the_same(guests: list[str], tmp_path: Path) -> None:
    menu = tmp_path / "menu.lst"
    menu.write_text("default 3\ntitle A\nkernel /x\n")
    for source in (*guests[:2], str(menu), str(tmp_path), str(tmp_path / "missing")):
        assert check_confined(source, OPTIONS) == check_source(source, OPTIONS)


@pytest.mark.slow
def test_a_real_guest_is_laid_out_as_deep_in_a_worker(images: Callable[[str], Path]) -> None:
    source = str(images("debian.img"))
    for depth in ("kernel", "plan"):
        options = replace(OPTIONS, depth=depth)
        ((_number, result),) = run_fleet([(0, source, options)], 1)
        assert result == check_source(source, options)
        assert not result.error
    assert "plan-made" in {finding.rule for finding in result.findings}


def test_the_reader_of_an_image_can_open_nothing(guests: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def curious(source: str, _options: CheckOptions, _opened: object) -> SourceResult:
        with open("/etc/passwd") as file:
            file.read()
        return SourceResult(source)

    monkeypatch.setattr(fleet, "check_source", curious)
    result = check_confined(guests[0], OPTIONS)
    assert result.error is not None and result.error.code == "sandbox"
    assert "/etc/passwd: Operation not permitted" in result.error.message


def endless(*_arguments: object) -> SourceResult:
    while True:
        pass


def hungry(*_arguments: object) -> SourceResult:
    blocks = []
    while True:
        blocks.append(bytearray(16 << 20))


def killed(*_arguments: object) -> SourceResult:
    ctypes.string_at(0)
    raise AssertionError


def sleeping(*_arguments: object) -> SourceResult:
    time.sleep(60)
    raise AssertionError


def lying(*_arguments: object) -> SourceResult:
    return SourceResult("/another/source")


@pytest.mark.parametrize(
    ("hostile", "message", "wall"),
    [
        (endless, "more than 1 s of CPU time", 100.0),
        (hungry, "more than 256 MiB of memory", 100.0),
        (sleeping, "takes more than 2 s", 2.0),
        (lying, "tells of another source", 100.0),
    ],
)
@pytest.mark.parametrize("directory", [False, True])
def test_a_reader_that_a_guest_has_taken_over_is_ended(
    guests: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hostile: Any,
    message: str,
    wall: float,
    directory: bool,
) -> None:
    monkeypatch.setattr(fleet, "check_source", hostile)
    source = str(tmp_path) if directory else guests[0]
    result = check_confined(
        source, OPTIONS, LIMITS._replace(parse_seconds=1, wall_seconds=wall, memory_bytes=256 << 20)
    )
    assert result.source == source
    assert result.error is not None and message in result.error.message


def test_a_reader_that_crashes_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "check_source", killed)
    result = check_confined(str(tmp_path), OPTIONS)
    assert result.error is not None and "ended by signal 11" in result.error.message


# --- many -------------------------------------------------------------------------------------------------


def check_all(sources: list[str], jobs: int, **options: Any) -> dict[int, SourceResult]:
    tasks = [(number, source, OPTIONS) for number, source in enumerate(sources)]
    pairs = list(run_fleet(tasks, jobs, **options))
    assert len(pairs) == len(sources)
    return dict(pairs)


def test_an_empty_menu_is_read_by_a_confined_reader_too(tmp_path: Path) -> None:
    menu = tmp_path / "menu.lst"
    menu.write_bytes(b"")
    result = check_confined(str(menu), OPTIONS)
    assert (result.error, [finding.rule for finding in result.findings]) == (None, ["no-entries"])


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_fleet_finds_the_same(guests: list[str], jobs: int) -> None:
    sources = [*guests, "/nowhere"]
    found = check_all(sources, jobs)
    assert [found[number] for number in range(len(sources))] == [check_source(source, OPTIONS) for source in sources]


def cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def checkers() -> list[int]:
    pid = os.getpid()
    numbers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(number) for number in numbers if cmdline(int(number)) == cmdline(pid)]


def test_a_checker_that_is_killed_loses_nothing(guests: list[str]) -> None:
    sources = guests * 3
    started: list[str] = []

    def kill_some(source: str) -> None:
        started.append(source)
        if len(started) in (3, 8):
            os.kill(max(checkers()), signal.SIGKILL)

    found = check_all(sources, 2, on_start=kill_some)
    assert [found[number] for number in range(len(sources))] == [check_source(source, OPTIONS) for source in sources]
    assert len(started) > len(sources)


def test_a_source_that_kills_its_checker_twice_is_reported_and_the_others_go_on(guests: list[str]) -> None:
    def kill(source: str) -> None:
        if source == guests[1]:
            for pid in checkers():
                os.kill(pid, signal.SIGKILL)

    found = check_all(guests, 1, on_start=kill)
    assert [number for number, result in found.items() if result.error] == [1]
    assert found[1].error is not None and found[1].error.code == "worker-ended"


def test_no_checker_is_left(guests: list[str]) -> None:
    check_all(guests, 2)
    assert checkers() == []
    unfinished = run_fleet([(number, source, OPTIONS) for number, source in enumerate(guests)], 2)
    next(unfinished)
    unfinished.close()
    assert checkers() == []


def test_nothing_goes_on_when_a_run_is_interrupted(tmp_path: Path, guests: list[str]) -> None:
    """Directories are read by children with rights, which must not outlive their worker either."""
    command = [sys.executable, "-m", "pvboot", "check", "--jobs", "2", "-v", guests[0], "/usr", *[str(tmp_path)] * 500]
    run = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    assert run.stderr is not None
    run.stderr.readline()
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(60) == 130
    run.stderr.read()  # ends when nobody holds the pipe any more
    for _ in range(100):
        if not living(run.pid):
            return
        time.sleep(0.1)
    raise AssertionError("a process is left")


def living(group: int) -> list[str]:
    """The processes of a group, without those that only wait for somebody to take note of their end."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _parent, pgrp = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has ended
            continue
        if int(pgrp) == group and state != "Z":
            found.append(folder.name)
    return found


# --- the command line -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit"])
def test_the_report_is_the_same_whatever_the_number_of_jobs(run_cli: RunCli, guests: list[str], form: str) -> None:
    reports = [run_cli("check", "--format", form, "--jobs", jobs, *guests) for jobs in ("1", "3")]
    assert {done.returncode for done in reports} == {1}
    assert {done.stderr for done in reports} == {""}
    assert len({done.stdout for done in reports}) == 1


def test_a_broken_image_does_not_stop_the_run(run_cli: RunCli, guests: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.img"
    broken.write_bytes(os.urandom(70_000))
    done = run_cli("check", "--format", "json", "--jobs", "2", broken, guests[0], guests[1])
    assert done.returncode == 3
    sources = json.loads(done.stdout)["sources"]
    assert [source["source"] for source in sources] == [str(broken), guests[0], guests[1]]
    assert "error" in sources[0] and "error" not in sources[1]


def test_each_source_is_told_as_it_comes_if_asked_for(run_cli: RunCli, guests: list[str]) -> None:
    done = run_cli("check", "-v", "--jobs", "2", *guests)
    lines = [line for line in done.stderr.splitlines() if line.startswith("pvboot: [")]
    assert sorted(line.split()[2].rstrip(":") for line in lines) == guests


def test_a_directory_is_a_guest_unless_it_is_told_otherwise(run_cli: RunCli, guests: list[str]) -> None:
    folder = Path(guests[0]).parent
    assert "no-menu" in run_cli("check", folder).stdout
    done = run_cli("check", "--recurse", "--format", "json", folder)
    assert [source["source"] for source in json.loads(done.stdout)["sources"]] == guests
    assert run_cli("check", "--recurse", "/proc/self/fdinfo").returncode == 2


def test_a_bar_is_drawn_on_a_terminal_and_taken_away(guests: list[str]) -> None:
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "pvboot", "check", "--jobs", "2", *guests]
    done = subprocess.Popen(command, cwd=REPOSITORY, stderr=child, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    os.close(child)
    said = b"".join(read_all(parent))
    assert done.wait() == 1
    assert b"] 6/6" in said and said.endswith(b"\r\033[K")


def read_all(fd: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(fd, 4096)
        except OSError:  # the other side is closed
            data = b""
        if not data:
            os.close(fd)
            return
        yield data


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 300))
def test_the_bar_fits_its_terminal(done: int, bad: int, columns: int) -> None:
    assert len(bar(done, 10**6, bad, columns)) <= columns


@pytest.mark.parametrize(
    "arguments", [["--jobs", "x"], ["--jobs", "-1"], ["--jobs", "9999"], ["--source-limit", "0"], ["--jobs", "²"]]
)
def test_wrong_numbers_are_wrong_usage(run_cli: RunCli, arguments: list[str]) -> None:
    done = run_cli("check", *arguments, "x")
    assert done.returncode == 2 and "expected" in done.stderr


# --- which files are sources ------------------------------------------------------------------------------


def test_sources_are_found_by_name_and_by_content(tmp_path: Path) -> None:
    make_guest(tmp_path / "b")
    (tmp_path / "a.qcow2").write_bytes(b"damaged")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "menu.lst").touch()
    for name in ("notes.txt", ".hidden.img", "b.md5"):
        (tmp_path / name).write_text("x" * 600)
    (tmp_path / "link.img").symlink_to("b")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.img")
    found = [os.path.relpath(path, tmp_path) for path in sources_below(str(tmp_path))]
    assert found == ["a.qcow2", "b", "deep/er/menu.lst"]


# --- the journal ------------------------------------------------------------------------------------------


def test_what_is_done_is_not_done_again(run_cli: RunCli, guests: list[str], tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = run_cli("check", "--state", state, *guests)
    size = state.stat().st_size
    again = run_cli("check", "--state", state, *guests)
    assert again.stdout == first.stdout and state.stat().st_size == size
    # as another user of the same journal could tell: a result that is in it is believed
    text = state.read_text()
    state.write_text(text.replace("every line ends with CR LF", "EVERY line ends with CR LF"))
    assert "EVERY line" in run_cli("check", "--state", state, *guests).stdout


def test_a_source_that_changed_is_done_again(tmp_path: Path) -> None:
    source = tmp_path / "menu.lst"
    source.write_text("title A\nkernel /a\n")
    with StateFile(str(tmp_path / "state")) as state:
        key = key_of(str(source), OPTIONS)
        state.put(key, SourceResult(str(source)))
    with StateFile(str(tmp_path / "state")) as state:
        assert state.get(key_of(str(source), OPTIONS)) == SourceResult(str(source))
        assert state.get(key_of(str(source), replace(OPTIONS, depth="text"))) is None
        os.utime(source, ns=(1, 1))
        assert state.get(key_of(str(source), OPTIONS)) is None


def test_directories_and_devices_have_no_key(tmp_path: Path) -> None:
    assert key_of(str(tmp_path), OPTIONS) is None
    assert key_of("/dev/null", OPTIONS) is None
    assert key_of(str(tmp_path / "missing"), OPTIONS) is None


def test_results_that_may_pass_are_not_kept(tmp_path: Path) -> None:
    with StateFile(str(tmp_path / "state")) as state:
        state.put("a", RESULTS[3])
        state.put("b", fleet.stopped("x", "killed"))
        state.put("c", RESULTS[0])
    with StateFile(str(tmp_path / "state")) as state:
        assert [state.get(key) for key in "abc"] == [None, None, RESULTS[0]]


@given(cut=st.integers(0, 10_000), junk=st.binary(max_size=20))
def test_a_journal_that_was_cut_anywhere_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    path = tmp_path_factory.mktemp("state") / "state"
    with StateFile(str(path)) as state:
        for number, result in enumerate(RESULTS[:3]):
            state.put(str(number), result)
    data = path.read_bytes()
    cut = min(cut, len(data))
    path.write_bytes(data[:cut])
    with StateFile(str(path)) as state:
        whole = max(0, data[:cut].count(b"\n") - 1)
        assert [state.get(str(number)) is not None for number in range(3)] == [number < whole for number in range(3)]
        state.put("new", RESULTS[1])
    with StateFile(str(path)) as state:
        assert state.get("new") == RESULTS[1]


@pytest.mark.parametrize("text", ["a text\n", "{}\n", '{"pvboot-check-state": 2}\n', "no line end", "\0\0"])
def test_another_file_is_not_overwritten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes"
    path.write_text(text)
    with pytest.raises(UsageError, match="not a state"):
        StateFile(str(path))
    assert path.read_text() == text


def test_two_runs_cannot_share_a_journal(tmp_path: Path) -> None:
    path = str(tmp_path / "state")
    with StateFile(path), pytest.raises(UsageError, match="in use"):
        StateFile(path)


def test_a_run_that_is_killed_goes_on_where_it_was(run_cli: RunCli, guests: list[str], tmp_path: Path) -> None:
    state = tmp_path / "state"
    sources = [str(tmp_path / f"{number}.img") for number in range(40)]
    for number, source in enumerate(sources):
        os.link(guests[number % 6], source)
    command = [sys.executable, "-m", "pvboot", "check", "--jobs", "2", "--state", str(state), "-v", *sources]
    run = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert run.stderr is not None
    for _ in range(5):
        run.stderr.readline()
    run.kill()
    run.wait()
    threading.Thread(target=run.stderr.read).start()  # its workers hold the pipe until they are done
    kept = state.read_bytes().count(b"\n") - 1
    assert kept >= 4
    done = run_cli("check", "--jobs", "2", "--state", state, "--format", "json", *sources)
    plain = run_cli("check", "--format", "json", *sources)
    assert done.stdout == plain.stdout
    assert state.read_bytes().count(b"\n") - 1 == len(sources)
