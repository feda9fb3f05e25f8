"""Clients that people use: curl, wget, busybox, requests; over TLS, too."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.serve.http.conftest import FILES
from tests.serve.http.support import Running, Tree, listening, mounted, running

Parts = Callable[[str], Path]
INITRD = FILES["boot/initrd"]


def run(*command: str | Path, ok: bool = True, folder: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run a client; it must succeed unless told otherwise."""
    done = subprocess.run(list(map(str, command)), capture_output=True, cwd=folder, timeout=120)
    assert (done.returncode == 0) is ok, done.stderr
    return done


def curl(*arguments: str | Path, ok: bool = True) -> bytes:
    return run("curl", "-sS", "--noproxy", "*", *arguments, ok=ok).stdout


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
@pytest.mark.parametrize("name", FILES)
def test_curl_gets_a_file(site: Running, version: str, name: str) -> None:
    assert curl(version, site.url(f"/{name}")) == FILES[name]


@pytest.mark.parametrize(
    ("wanted", "part"), [("0-0", slice(1)), ("1000000-", slice(1_000_000, None)), ("-7", slice(-7, None))]
)
def test_curl_gets_a_range(site: Running, wanted: str, part: slice) -> None:
    assert curl("-r", wanted, site.url("/boot/initrd")) == INITRD[part]


def test_curl_resumes(site: Running, tmp_path: Path) -> None:
    target = tmp_path / "initrd"
    target.write_bytes(INITRD[:1_234_567])
    curl("-C", "-", "-o", target, site.url("/boot/initrd"))
    assert target.read_bytes() == INITRD
    assert [transfer.size for transfer in site.journal.transfers] == [len(INITRD) - 1_234_567]


def test_curl_uses_one_connection_for_several_files(site: Running) -> None:
    several = curl(site.url("/boot/vmlinuz"), site.url("/small.txt"), site.url("/empty"))
    assert several == FILES["boot/vmlinuz"] + b"0123456789"
    assert site.journal.counts["http_connections"] == 1


def test_curl_asks_for_the_head(site: Running) -> None:
    assert b"\r\nContent-Length: 3333333\r\n" in curl("-I", site.url("/boot/initrd"))


def test_curl_fetches_only_what_has_changed(site: Running, tmp_path: Path) -> None:
    target, tag = tmp_path / "small.txt", tmp_path / "tag"
    curl("-R", "--etag-save", tag, "-o", target, site.url("/small.txt"))
    assert curl("-w", "%{http_code}", "--etag-compare", tag, site.url("/small.txt")) == b"304"
    assert curl("-w", "%{http_code}", "-z", target, site.url("/small.txt")) == b"304"


def test_curl_keeps_to_the_path_that_it_is_given(odd_site: Running) -> None:
    assert curl("--path-as-is", "-w", "%{http_code}", "-o", "/dev/null", odd_site.url("/boot/../../secret")) == b"400"


def test_wget_mirrors_a_tree_by_its_listings(site: Running, tmp_path: Path) -> None:
    run("wget", "-q", "--no-proxy", "-r", "-np", "-nH", site.url("/"), folder=tmp_path)
    for name, data in FILES.items():
        assert (tmp_path / name).read_bytes() == data


def test_wget_resumes(site: Running, tmp_path: Path) -> None:
    (tmp_path / "initrd").write_bytes(INITRD[:3_000_000])
    run("wget", "-q", "--no-proxy", "-c", site.url("/boot/initrd"), folder=tmp_path)
    assert (tmp_path / "initrd").read_bytes() == INITRD


def test_busybox_fetches_and_resumes(site: Running, parts: Parts, tmp_path: Path) -> None:
    """The client of most initramfs images; it speaks HTTP/1.1 with Connection: close."""
    target = tmp_path / "initrd"
    target.write_bytes(INITRD[:2_000_000])
    for options in (["-c"], []):
        run(parts("busybox"), "wget", "-q", *options, "-O", target, site.url("/boot/initrd"))
        assert target.read_bytes() == INITRD
    run(parts("busybox"), "wget", "-q", "-O", tmp_path / "x", site.url("/nothing"), ok=False)


def test_requests_streams_and_posts(site: Running) -> None:
    with requests.Session() as session:
        session.trust_env = False
        with session.get(site.url("/boot/initrd"), stream=True) as answer:
            assert b"".join(answer.iter_content(100_000)) == INITRD
        assert session.get(site.url("/boot"), headers={"Accept": "application/json"}).json()["path"] == "/boot"
        assert session.post(site.url("/small.txt"), data=b"x").status_code == 405
        assert session.post(site.url("/small.txt"), data=iter([b"x"])).status_code == 405


# --- TLS


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an own authority (`ca.pem`) and a certificate of it for 127.0.0.1 (`server.pem`, `server.key`)."""
    folder = tmp_path_factory.mktemp("tls")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    ca = ["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority", "-addext", "keyUsage=keyCertSign"]
    run("openssl", "req", "-x509", *key, *ca, folder=folder)
    server = ["-keyout", "server.key", "-out", "server.pem", "-subj", "/CN=pxe", "-CA", "ca.pem", "-CAkey", "ca.key"]
    extensions = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    run("openssl", "req", "-x509", *key, *server, *extensions, folder=folder)
    return folder


@pytest.fixture
def tls_site(image: Path, authority: Path) -> Iterator[Running]:
    """A server with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    with running(Tree(mounted(image)), tls=context) as server:
        yield server


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", FILES)
def test_curl_over_tls(tls_site: Running, authority: Path, version: str, name: str) -> None:
    tls = ["--cacert", authority / "ca.pem", f"--tlsv{version}", "--tls-max", version]
    both = curl(*tls, tls_site.url(f"/{name}", "https"), tls_site.url("/small.txt", "https"))
    assert both == FILES[name] + b"0123456789"
    assert tls_site.journal.transfers[-1].who.protocol == "https"
    assert tls_site.journal.counts["http_connections"] == 1


def test_ranges_and_requests_over_tls(tls_site: Running, authority: Path) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(authority / "ca.pem")
        answer = session.get(tls_site.url("/boot/initrd", "https"), headers={"Range": "bytes=1000000-2999999"})
        assert (answer.status_code, answer.content) == (206, INITRD[1_000_000:3_000_000])


def test_what_is_no_tls_does_not_disturb(tls_site: Running, authority: Path) -> None:
    curl(tls_site.url("/small.txt"), ok=False)
    curl(tls_site.url("/small.txt", "https"), ok=False)  # an authority that it does not know
    assert curl("--cacert", authority / "ca.pem", tls_site.url("/small.txt", "https")) == b"0123456789"


def test_plain_and_tls_side_by_side(tls_site: Running, authority: Path) -> None:
    sock = listening()
    plain = sock.getsockname()[1]
    tls_site.call(tls_site.server.serve([sock]))
    assert curl(f"http://127.0.0.1:{plain}/small.txt") == b"0123456789"
    assert curl("--cacert", authority / "ca.pem", tls_site.url("/small.txt", "https")) == b"0123456789"
