"""`pvboot serve` as a process, with curl, tftp-hpa and signals as its clients."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fsdrivers.blocks import open_source
from fsdrivers.probe import probe
from pvboot.serve.metrics import PUBLISH_SECONDS
from tests import REPOSITORY
from tests.serve.conftest import CONFIG
from tests.serve.journal import wait_until
from tests.serve.server import Server, children, family, hear, is_alive

Serve = Callable[..., Server]


def content_of(image: Path, path: str) -> bytes:
    """The file by our own reader, in this process."""
    source = open_source(image)
    try:
        file = probe(source).open(path)
        return file.read_at(0, file.size)
    finally:
        source.close()


@pytest.mark.parametrize("image", ["ext2.img", "rockridge-joliet.iso"])
def test_files_inside_of_images_arrive_whole(serve: Serve, world: Path, image: str) -> None:
    server = serve()
    path = f"/images/{image}/boot/module.txt"
    expected = content_of(world / "images" / image, "/boot/module.txt")
    assert len(expected) > 10_000
    curl = subprocess.run(["curl", "-sS", "--fail", server.url(path)], capture_output=True, timeout=60, check=True)
    assert curl.stdout == expected
    for index in (0, 1):  # IPv4 and IPv6
        assert server.tftp(path, world / f"got{index}", index) == expected
    assert server.get(path, Range="bytes=100-299") == expected[100:300]
    assert server.get("/files/deep/data.bin") == (world / "files/deep/data.bin").read_bytes()
    assert [server.names(path) for path in ("/", "/files/")] == [["files", "images"], ["deep", "menu.lst"]]


def test_nothing_outside_of_the_tree_is_served(serve: Serve, world: Path) -> None:
    (world / "files" / "out").symlink_to("../secret")
    (world / "files" / "absolute").symlink_to(world / "secret")
    (world / "images" / "out.img").symlink_to("../secret")
    server = serve()
    tries = [
        "/files/../secret",
        "/files/out",
        "/files/absolute",
        "/files/deep/../../secret",
        "/images/out.img",
        "/images/../secret",
        "/images/ext2.img/../../secret",
        "/files//..//secret",
    ]
    for path in tries:
        for dots, other in (("", ""), ("..", "%2e%2e"), ("/..", "%2f.."), ("..", "%252e.")):
            spelling = path.replace(dots, other) if dots else path
            done = subprocess.run(["curl", "-s", "--path-as-is", server.url(spelling)], capture_output=True, timeout=60)
            assert b"not for you" not in done.stdout, spelling
        assert not server.tftp(path, world / "got"), path
    assert server.get("/files/menu.lst")


def test_fifos_and_devices_are_not_served(serve: Serve, world: Path) -> None:
    os.mkfifo(world / "files" / "fifo")
    os.mkfifo(world / "images" / "fifo.img")
    server = serve()
    assert server.status("/files/fifo") == 404
    assert server.status("/images/fifo.img") == 404
    assert "fifo" not in server.names("/files/")


def test_root_is_given_up_by_all_processes(serve: Serve, world: Path) -> None:
    server = serve()
    server.get("/images/ext2.img/vmlinuz")
    processes = [server.pid, *family(server.pid)]
    assert len(processes) >= 8  # the supervisor, three workers and their fork servers, a reader
    expected = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else os.getuid()
    for pid in processes:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert set(fields["Uid"].split()) == {str(expected)}, pid
        assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == int(fields["CapInh"], 16) == 0


def test_a_worker_that_dies_is_started_again(serve: Serve, world: Path) -> None:
    server = serve()
    first = server.children()
    assert set(first) == {"pvboot-tftp", "pvboot-http", "pvboot-admin"}
    for name in first:
        os.kill(first[name], signal.SIGKILL)
    wait_until(lambda: set(server.children()) == set(first) and server.children() != first, "new workers")
    wait_until(lambda: server.status("/healthz", "admin") == 200, "health")
    assert server.get("/files/menu.lst")
    assert server.tftp("/files/menu.lst", world / "got")
    restarts = {key: value for key, value in server.metrics().items() if "worker_restarts" in key}
    assert restarts == {f'pvboot_worker_restarts_total{{worker="{kind}"}}': 1 for kind in ("tftp", "http", "admin")}


def test_a_lost_fork_server_is_replaced(serve: Serve, world: Path) -> None:
    server = serve()
    worker = server.children()["pvboot-http"]
    (lost,) = children(worker)
    os.kill(lost, signal.SIGKILL)
    wait_until(lambda: server.children().get("pvboot-http", worker) != worker, "a new worker")
    wait_until(lambda: server.status("/images/ext2.img/vmlinuz") == 200, "images are read again")


def test_nobody_outlives_a_killed_supervisor(serve: Serve, world: Path) -> None:
    server = serve()
    server.get("/images/ext2.img/vmlinuz")
    processes = family(server.pid)
    assert len(processes) >= 7
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, processes)), "all are gone")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_is_orderly(serve: Serve, world: Path, number: int) -> None:
    server = serve()
    processes = family(server.pid)
    os.kill(server.pid, number)
    assert server.process.wait(60) == 0
    assert not any(map(is_alive, processes))
    assert "event=stopped" in server.log


def test_reload_takes_a_new_configuration(serve: Serve, world: Path) -> None:
    server = serve()
    workers = set(server.children().values())
    server.config.write_text(CONFIG.replace('"/files"', '"/moved"'))
    server.reload()
    wait_until(lambda: server.status("/moved/menu.lst") == 200, "the new tree")
    wait_until(lambda: server.status("/files/menu.lst") == 404, "the old tree is gone")
    wait_until(lambda: not workers & set(server.children().values()), "old workers end")
    assert server.tftp("/moved/menu.lst", world / "got")
    assert server.metrics()["pvboot_reloads_total"] == 1


@pytest.mark.parametrize("bad", ["[listen\n", '[[content]]\npath = "/x"\ndirectory = "nowhere"\n', "frobnicate = 1\n"])
def test_a_bad_configuration_is_refused_and_the_old_one_stays(serve: Serve, world: Path, bad: str) -> None:
    server = serve()
    workers = server.children()
    server.config.write_text(bad)
    server.reload()
    wait_until(lambda: "event=reload-refused" in server.log, "the refusal")
    assert server.get("/files/menu.lst")
    assert server.children() == workers


def test_a_transfer_goes_on_across_a_reload(serve: Serve, world: Path) -> None:
    (world / "files" / "large").write_bytes(os.urandom(1 << 20) * 48)
    server = serve(CONFIG + "\n[limits.server]\nretire_seconds = 60\n")
    with socket.create_connection(("127.0.0.1", server.port("http"))) as client:
        client.sendall(b"GET /files/large HTTP/1.0\r\n\r\n")
        got = hear(client)
        worker = server.children()["pvboot-http"]
        server.config.write_text(CONFIG.replace('"/files"', '"/moved"'))
        server.reload()
        wait_until(lambda: server.status("/moved/menu.lst") == 200, "the new tree")
        assert is_alive(worker)
        pieces = [got]
        while piece := client.recv(1 << 20):
            pieces.append(piece)
    body = b"".join(pieces).partition(b"\r\n\r\n")[2]
    assert body == (world / "files" / "large").read_bytes()
    wait_until(lambda: not is_alive(worker), "the old worker ends when it is done")


def test_reload_under_load_refuses_nobody(serve: Serve, world: Path) -> None:
    server = serve()
    expected = (world / "files/deep/data.bin").read_bytes()
    failures: list[str] = []
    done = threading.Event()

    def fetch() -> None:
        while not done.is_set():
            try:
                if server.get("/files/deep/data.bin") != expected:
                    failures.append("other bytes")
            except OSError as err:
                failures.append(str(err))

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in (1, 2, 3):
        server.reload()
        wait_until(lambda number=number: server.log.count("event=reloaded") == number, "the reload")
    done.set()
    for thread in threads:
        thread.join()
    assert not failures


def test_an_image_may_be_replaced_while_it_is_served(serve: Serve, world: Path) -> None:
    server = serve()
    image = world / "images" / "ext2.img"
    before = server.get("/images/ext2.img/boot/module.txt")
    other = world / "other.img"
    shutil.copyfile(image, other)
    (world / "new.txt").write_text("new content")
    subprocess.run(["debugfs", "-w", "-R", "rm /boot/module.txt", str(other)], check=True, capture_output=True)
    subprocess.run(
        ["debugfs", "-w", "-R", f"write {world}/new.txt /boot/module.txt", str(other)], check=True, capture_output=True
    )
    other.chmod(0o644)
    os.replace(other, image)
    assert server.get("/images/ext2.img/boot/module.txt") == b"new content" != before
    assert server.tftp("/images/ext2.img/boot/module.txt", world / "got") == b"new content"


def test_a_hostile_image_hurts_no_other(serve: Serve, world: Path) -> None:
    rubbish = bytearray((world / "images" / "ext2.img").read_bytes())
    rubbish[1024 + 24 : 1024 + 28] = (31).to_bytes(4, "little")  # blocks of 1 TiB
    (world / "images" / "bad.img").write_bytes(rubbish)
    (world / "images" / "noise.img").write_bytes(os.urandom(1 << 20))
    server = serve()
    for name in ("bad.img", "noise.img"):
        assert server.status(f"/images/{name}/boot/module.txt") >= 400
        assert not server.tftp(f"/images/{name}/vmlinuz", world / "got")
    assert server.get("/images/ext2.img/boot/module.txt")
    assert server.status("/healthz", "admin") == 200


def test_health_fails_when_tftp_does_not_answer(serve: Serve, world: Path) -> None:
    server = serve()
    assert json.loads(server.get("/healthz", "admin")) == {"status": "ok", "problems": {}}
    worker = server.children()["pvboot-tftp"]
    os.kill(worker, signal.SIGSTOP)
    try:
        wait_until(lambda: server.status("/healthz", "admin") == 503, "the failure is seen")
    finally:
        os.kill(worker, signal.SIGCONT)
    wait_until(lambda: server.status("/healthz", "admin") == 200, "it has recovered")


def test_metrics_sum_up_all_workers_in_prometheus_format(serve: Serve, world: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    server = serve()
    for index in range(3):
        server.get("/files/menu.lst")
        assert server.tftp("/files/menu.lst", world / f"got{index}")
    size = (world / "files" / "menu.lst").stat().st_size

    def counted() -> bool:
        families = list(text_string_to_metric_families(server.get("/metrics", "admin").decode()))
        values = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family_ in families
            for sample in family_.samples
        }
        return all(
            values.get(("pvboot_transfers_total", ("outcome", "done"), ("protocol", protocol))) == 3
            and values.get(("pvboot_sent_bytes_total", ("protocol", protocol))) == 3 * size
            for protocol in ("http", "tftp")
        )

    wait_until(counted, f"six transfers counted (published each {PUBLISH_SECONDS} s)")


def test_the_log_is_json_when_wanted(serve: Serve, world: Path) -> None:
    server = serve(CONFIG + '\n[log]\nformat = "json"\n')
    server.get("/files/deep/data.bin")
    server.status("/files/no%7fthing%0a")
    server.stop()
    lines = [json.loads(line) for line in server.log.splitlines()]
    (transfer,) = [line for line in lines if line["event"] == "transfer"]
    assert {key: transfer[key] for key in ("protocol", "client", "path", "bytes", "outcome", "size")} == {
        "protocol": "http",
        "client": "127.0.0.1",
        "path": "/files/deep/data.bin",
        "bytes": 179200,
        "outcome": "done",
        "size": 179200,
    }
    assert transfer["seconds"] >= 0


def test_sockets_come_from_systemd(serve: Serve, world: Path) -> None:
    """As `systemd-socket-activate` hands them over; it takes no datagram and stream sockets at once."""
    config = CONFIG.replace('tftp = ["127.0.0.1:0", "[::1]:0"]', "").replace('http = ["127.0.0.1:0"]', "")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as http, socket.socket(type=socket.SOCK_DGRAM) as tftp:
        for sock in (http, tftp):
            sock.bind(("127.0.0.1", 0))
        http.listen()
        # A program that gives itself the sockets as 3 and 4 and then becomes the server, its own process id told.
        become = (
            "import os,sys; a,b=int(sys.argv[1]),int(sys.argv[2]); a,b,r=os.dup(a),os.dup(b),os.dup(int(sys.argv[3]));"
            "x=os.dup2(a,50);y=os.dup2(b,51);z=os.dup2(r,52);os.dup2(50,3);os.dup2(51,4);os.dup2(52,9);"
            "os.environ.update(LISTEN_PID=str(os.getpid()),LISTEN_FDS='2',LISTEN_FDNAMES='http:tftp');"
            "os.execv(sys.executable,[sys.executable,'-m','pvboot','serve',sys.argv[4],'--ready-fd','9'])"
        )
        path = world / "serve.toml"
        path.write_text(config)
        receive, send = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-c", become, str(http.fileno()), str(tftp.fileno()), str(send), str(path)],
            cwd=REPOSITORY,
            pass_fds=[http.fileno(), tftp.fileno(), send],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(send)
        try:
            with os.fdopen(receive) as ready:
                addresses = json.loads(ready.readline())
            assert addresses["http"] == [list(http.getsockname())]
            assert addresses["tftp"] == [list(tftp.getsockname())]
            port = http.getsockname()[1]
            url = f"http://127.0.0.1:{port}/files/menu.lst"
            done = subprocess.run(["curl", "-sS", "--fail", url], capture_output=True, timeout=60, check=True)
            assert done.stdout == (world / "files/menu.lst").read_bytes()
        finally:
            process.terminate()
            process.wait(60)


def test_systemd_is_told(serve: Serve, world: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(world / "notify"))
        (world / "notify").chmod(0o777)
        server = serve(env={"NOTIFY_SOCKET": str(world / "notify")})
        assert b"READY=1" in hear(manager).split(b"\n")
        server.reload()
        assert hear(manager).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert b"READY=1" in hear(manager).split(b"\n")
        server.stop()
        assert hear(manager) == b"STOPPING=1"


def test_it_says_where_it_listens(serve: Serve, world: Path) -> None:
    server = serve(CONFIG, "--json")
    assert server.process.stdout is not None
    assert json.loads(server.process.stdout.readline()) == server.addresses
    assert [host for host, _port in server.addresses["tftp"]] == ["127.0.0.1", "::1"]


@pytest.mark.skipif(os.getuid() != 0, reason="root reads everything; only who gives it up can be refused")
def test_what_the_new_user_cannot_read_is_told(serve: Serve, world: Path) -> None:
    (world / "files").chmod(0o700)
    server = serve()
    wait_until(lambda: "event=configuration" in server.log, "the warning")
    assert "/files cannot be read: Permission denied" in server.log
    assert server.status("/files/menu.lst") >= 400
    assert server.get("/images/ext2.img/vmlinuz")


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody who may not write")
def test_a_state_that_the_new_user_cannot_write_is_told(serve: Serve, world: Path) -> None:
    (world / "state").mkdir()
    (world / "state").chmod(0o755)
    server = serve(f'state = "{world}/state/state.db"\n{CONFIG}', wait=False)
    assert server.process.wait(60) == 3
    assert "state.db: the database and its directory must be writable" in server.log
    assert f"expected write access for the user nobody, found none to {world}/state" in server.log


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")
def test_an_unknown_user_has_its_line(serve: Serve, world: Path) -> None:
    server = serve(f'user = "no-such-user"\n{CONFIG}', wait=False)
    assert server.process.wait(60) == 2
    assert server.log == f"pvboot: {server.config}:1: user: no such user or group (found no-such-user)\n"


def test_a_taken_port_is_one_line(serve: Serve, world: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = serve(CONFIG.replace('http = ["127.0.0.1:0"]', f'http = ["127.0.0.1:{port}"]'), wait=False)
        assert server.process.wait(60) == 4
    assert server.log == f"pvboot: http 127.0.0.1 port {port}: cannot listen: Address already in use\n"


def make_certificate(folder: Path) -> str:
    """The `[tls]` table of a certificate for 127.0.0.1 in `folder`."""
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *key, "-out", "cert.pem", "-days", "2", *names]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (folder / "key.pem").chmod(0o600)  # read before root is given up
    return '\n[tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n'


def curl(*arguments: str | Path) -> bytes:
    return subprocess.run(["curl", "-sS", "--fail", *arguments], capture_output=True, check=True, timeout=60).stdout


def test_https_serves_the_same(serve: Serve, world: Path) -> None:
    tls = make_certificate(world)
    server = serve(CONFIG.replace("[listen]\n", '[listen]\nhttps = ["127.0.0.1:0"]\n') + tls)
    url = server.url("/images/ext2.img/boot/module.txt", "https")
    expected = content_of(world / "images/ext2.img", "/boot/module.txt")
    assert curl("--cacert", world / "cert.pem", url) == expected


def test_the_administrator_is_served_by_tls_beyond_this_host(serve: Serve, world: Path) -> None:
    tls = make_certificate(world)
    both = '["0.0.0.0:0", "127.0.0.1:0"]'
    server = serve(CONFIG.replace('admin = ["127.0.0.1:0"]', f"admin = {both}") + tls)
    outer, inner = server.port("admin", 0), server.port("admin", 1)
    health = curl("--cacert", world / "cert.pem", f"https://127.0.0.1:{outer}/healthz")
    assert health == curl(f"http://127.0.0.1:{inner}/healthz")


def test_the_administrator_may_have_a_unix_socket(serve: Serve, world: Path) -> None:
    path = world / "admin.sock"
    with socket.socket(socket.AF_UNIX) as dead:  # of a server that was killed
        dead.bind(str(path))
    server = serve(CONFIG.replace('admin = ["127.0.0.1:0"]', 'admin = ["unix:admin.sock"]'))
    assert server.addresses["admin"] == [str(path)]
    facts = path.stat()
    assert facts.st_mode & 0o777 == 0o660
    assert facts.st_uid == (pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else os.getuid())
    assert json.loads(curl("--unix-socket", path, "http://localhost/healthz"))["status"] == "ok"
    with pytest.raises(subprocess.CalledProcessError):
        curl("--unix-socket", path, "http://evil.example/healthz")
    server.reload()
    wait_until(lambda: "event=reloaded" in server.log, "the reload")
    assert json.loads(curl("--unix-socket", path, "http://localhost/healthz"))["status"] == "ok"
    second = serve(CONFIG.replace('admin = ["127.0.0.1:0"]', 'admin = ["unix:admin.sock"]'), wait=False)
    assert second.process.wait(60) == 4
    assert f"pvboot: admin unix:{path}: cannot listen: Address already in use\n" in second.log


def test_clients_get_menus_of_their_profiles(serve: Serve, world: Path) -> None:
    (world / "state").mkdir()
    (world / "state").chmod(0o777)
    state = f'state = "{world}/state/state.db"\n'
    profile = (
        '\n[profiles.debian]\nkernel = "/images/ext2.img/vmlinuz"\nargs = "quiet"\n'
        '[clients.web]\nmac = "00:16:3e:00:00:01"\nprofile = "debian"\n'
    )
    server = serve(state + CONFIG + profile)
    assert "kernel (nd)/images/ext2.img/vmlinuz quiet" in server.get("/boot/menu.lst?mac=00:16:3e:00:00:01").decode()
    assert server.get("/ui", "admin").startswith(b"<!DOCTYPE html>")
    assert json.loads(server.get("/healthz", "admin"))["status"] == "ok"
    items = json.loads(server.get("/api/v1/clients", "admin"))["items"]
    assert [client["name"] for client in items] == ["web"]
