"""publish against real receivers on loopback: SQUAD, nginx with TLS, and a server with every bad habit.

Each test counts what arrived at the receiver: every result once, none lost, and no token where it does not
belong.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from kcidb_io.schema import LATEST

from kmodpipe import results
from kmodpipe.host import facts
from kmodpipe.results import Run, Verdict
from tests.integration import receivers
from tests.integration.conftest import require
from tests.integration.receivers import (
    Behaviour,
    Misbehaving,
    answers,
    closes_early,
    deaf,
    drips,
    drops,
    floods,
    misbehaving,
    takes,
)
from tests.support import sample_run
from tests.support.servers import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.xdist_group("publish")]

REPO = Path(__file__).resolve().parents[2]
TOKEN = "0123456789abcdef0123456789abcdef01234567"
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
FAST = "connect-s = 5\nread-s = 2\noverall-s = 3\nbackoff-s = 0.1\nattempts = 4\n"


@dataclass
class World:
    """A project of its own with one run, and everything that publishing writes in one folder."""

    root: Path
    run: Run
    env: dict[str, str]
    output: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.root / "out" / self.run.id

    def declare(self, **tables: str) -> None:
        sections = [f"[tool.kmodpipe.receivers.{name}]\n{text}" for name, text in tables.items()]
        (self.root / "pyproject.toml").write_text(
            '[tool.kmodpipe]\ntree = "t"\n' + "\n".join(sections), encoding="utf-8"
        )

    def argv(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "invoke", "publish", *args]

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(*args), cwd=self.root, env=self.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def end(self, child: subprocess.Popen[str]) -> tuple[int, str]:
        text, _ = child.communicate(timeout=300)
        self.output.append(text)
        return child.returncode, text

    def publish(self, *args: str) -> tuple[int, str]:
        return self.end(self.start(*args))

    def to(self, name: str, *args: str) -> tuple[int, str]:
        return self.publish("--to", name, "--run", str(self.folder), *args)

    def pending(self) -> tuple[int, str]:
        return self.publish("--pending")

    @property
    def waiting(self) -> int:
        return len(list((self.root / "state" / "kmodpipe" / "outbox" / "pending").glob("*")))

    def junit(self) -> bytes:
        return (self.folder / "junit.xml").read_bytes()

    def leaks(self) -> list[str]:
        """Where the token stands: in no output, and in no file that publishing wrote."""
        found = ["output" for text in self.output if TOKEN in text]
        for path in self.root.rglob("*"):
            if path.is_file() and "server" not in path.parts and TOKEN.encode() in path.read_bytes():
                found.append(str(path))
        return found


def sample() -> Run:
    """The sample run, with a failure, a case without verdict, and a dead axis in it."""
    run = sample_run.finished()
    run = sample_run.change(run, "unpatched.INDEX=n.NOUUID=n", sample_run.failed(0, "mounted", "ESTALE"))
    silent = replace(sample_run.seen(1, ""), verdict=Verdict.ERROR, message="its record has no end")
    run = sample_run.change(run, "unpatched.INDEX=n.NOUUID=n", silent)
    return replace(run, dead_axes=(sample_run.DEAD,))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    root = tmp_path / "project"
    root.mkdir()
    shutil.copy(REPO / "tasks.py", root)
    run = sample()
    sample_run.on_disk(run, root / "out")
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and k not in CA_VARIABLES}
    env |= {
        "XDG_STATE_HOME": str(root / "state"),
        "HOME": str(root / "home"),
        "TOKEN": TOKEN,
        "TMPDIR": str(root / "tmp"),
        "PYTHONPATH": str(REPO),
    }
    for name in ("home", "tmp"):
        (root / name).mkdir()
    made = World(root, run, env)
    yield made
    assert made.leaks() == []


def put(server: str, extra: str = FAST) -> str:
    return f'kind = "http"\nurl = "{server}/{{run}}/junit.xml"\ntoken-env = "TOKEN"\n{extra}'


def post(server: str, extra: str = FAST) -> str:
    return f'kind = "http"\nmethod = "POST"\nurl = "{server}/in"\ntoken-env = "TOKEN"\n{extra}'


# -- bad habits -------------------------------------------------------------------------------------------
def come_back_in(seconds: int) -> Behaviour:
    """Too busy, with a date for the time to come back."""

    def behave(server: Misbehaving, conn: socket.socket, seen: receivers.Seen | None) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
        answers(503, Retry_After=date)(server, conn, seen)

    return behave


PASSING: dict[str, tuple[Sequence[Behaviour], int]] = {
    "429": ((answers(429), takes()), 2),
    "500, 502, 504": ((answers(500), answers(502), answers(504), takes()), 4),
    "dropped before the answer": ((drops(), takes()), 2),
    "dropped in the status line": ((drops(b"HTTP/1.1 20"), takes()), 2),
    "closed early": ((closes_early, takes()), 2),
    "garbage": ((drops(b"\x16\x03\x01 what is this\r\n\r\n"), takes()), 2),
    "a drip of headers": ((drips(b"HTTP/1.1 201 Created\r\nX-A: "), takes()), 2),
    "dropped among the headers": ((drops(b"HTTP/1.1 201 Created\r\nX-A: 1\r\n"), takes()), 2),
    "silence": ((drips(b""), takes()), 2),
}


@pytest.mark.parametrize("habit", PASSING)
def test_a_put_gets_through_a_passing_fault_and_is_there_once(world: World, habit: str) -> None:
    behaviours, connections = PASSING[habit]
    with misbehaving(*behaviours) as server:
        world.declare(archive=put(server.url))
        code, text = world.to("archive")
        assert code == 0, text
        assert server.stored == {f"/{world.run.id}/junit.xml": world.junit()}
        assert server.connections == connections
    assert world.waiting == 0


@pytest.mark.parametrize("busy", [answers(429, Retry_After="2"), come_back_in(3)], ids=["seconds", "date"])
def test_retry_after_is_waited_for(world: World, busy: Behaviour) -> None:
    with misbehaving(busy, takes()) as server:
        world.declare(archive=put(server.url))
        began = time.monotonic()
        code, text = world.to("archive")
        assert code == 0, text
        assert time.monotonic() - began >= 2
        assert list(server.stored.values()) == [world.junit()]


def test_a_retry_after_of_six_hours_is_left_to_another_day(world: World) -> None:
    with misbehaving(answers(429, Retry_After="21600"), takes()) as server:
        world.declare(archive=put(server.url))
        code, text = world.to("archive")
        assert (code, server.connections) == (3, 1)
        assert "1 still pending" in text
        assert "invoke publish --pending" in text
        assert world.pending()[0] == 0
        assert len(server.stored) == 1
    assert world.waiting == 0


def test_the_answer_s_status_counts_even_where_its_body_breaks_off_or_never_ends(world: World) -> None:
    half = b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nhalf of it"
    for behaviour in (drops(half), floods):
        with misbehaving(behaviour) as server:
            world.declare(archive=put(server.url))
            code, text = world.to("archive", "--again")
            assert code == 0, text
            assert server.connections == 1
            assert len(server.stored) == 1
            assert server.flooded < 32 * 1024 * 1024  # what fits into sockets; 256 MiB were on offer


def test_a_dripping_server_holds_us_no_longer_than_the_overall_limit(world: World) -> None:
    with misbehaving(drips(b"HTTP/1.1 201 Created\r\nX-Long: ")) as server:
        world.declare(archive=put(server.url, "read-s = 30\noverall-s = 2\nattempts = 1\n"))
        began = time.monotonic()
        code, text = world.to("archive")
        assert code == 3, text
        assert "did not finish its answer within 2 s" in text
        assert time.monotonic() - began < 15
    assert world.waiting == 1


def test_a_server_that_does_not_read_holds_us_no_longer_either(world: World) -> None:
    with (world.folder / "big.bin").open("wb") as f:
        f.truncate(32 * 1024 * 1024)

    with misbehaving(deaf) as server:
        url = f'kind = "http"\nfile = "big.bin"\nurl = "{server.url}/{{run}}"\ntoken-env = "TOKEN"\n'
        world.declare(archive=url + "read-s = 60\noverall-s = 2\nattempts = 1\n")
        code, text = world.to("archive")
        assert (code, "within 2 s" in text) == (3, True), text


def test_a_server_that_never_finishes_its_handshake_holds_us_no_longer_either(world: World) -> None:
    with misbehaving(deaf) as server:
        world.declare(
            archive=put(
                server.url.replace("http:", "https:"), "connect-s = 60\noverall-s = 2\nattempts = 1\n"
            )
        )
        code, text = world.to("archive")
        assert (code, "no connection to https://127.0.0.1" in text) == (3, True), text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_the_other_host_sees_nothing(world: World, status: int) -> None:
    with misbehaving(takes()) as other:
        there = other.url.replace("127.0.0.1", "localhost")
        with misbehaving(answers(status, Location=f"{there}/elsewhere?secret=1")) as server:
            world.declare(archive=put(server.url))
            code, text = world.to("archive")
        assert code == 3
        assert there in text
        assert "secret=1" not in text
        assert server.connections == 1
        assert (other.connections, other.requests) == (0, [])
    assert world.waiting == 1


def test_a_post_that_may_have_arrived_is_not_doubled(world: World) -> None:
    with misbehaving(drops(), takes()) as server:
        world.declare(inbox=post(server.url))
        code, text = world.to("inbox")
        assert (code, server.connections) == (3, 1), text
        # Neither by asking for the same again, nor by sending what waits.
        assert world.to("inbox")[0] == 3
        code, text = world.pending()
        assert (code, "it may have arrived" in text) == (3, True)
        assert (server.connections, len(server.stored)) == (1, 1)
        # Whoever has looked there says what to do.
        assert world.publish("--pending", "--again")[0] == 0
        assert server.connections == 2
    keys = {seen.headers["idempotency-key"] for seen in server.requests}
    assert len(keys) == 1
    assert len(server.stored) == 1


def test_a_post_to_a_receiver_that_knows_the_key_is_repeated(world: World) -> None:
    with misbehaving(drops(b"HTTP/1.1 2"), takes()) as server:
        world.declare(inbox=post(server.url, f"{FAST}repeatable = true\n"))
        assert world.to("inbox")[0] == 0
        assert (len(server.requests), len(server.stored)) == (2, 1)


def test_a_refusal_stays_and_does_not_hold_up_the_next_run(world: World) -> None:
    with misbehaving(answers(413, b"too large for us"), takes()) as server:
        world.declare(archive=put(server.url))
        code, text = world.to("archive")
        assert (code, "413: too large for us" in text) == (3, True)
        assert server.connections == 1
        assert world.pending()[0] == 0
        assert len(server.stored) == 1


def test_a_receiver_that_is_down_loses_nothing(world: World) -> None:
    port = free_port()
    world.declare(archive=put(f"http://127.0.0.1:{port}"))
    code, text = world.to("archive")
    assert (code, world.waiting) == (3, 1)
    assert "Connection refused" in text
    with misbehaving(takes()) as server:
        # Its address was put right since: what waits goes to the new one.
        world.declare(archive=put(server.url))
        assert world.pending()[0] == 0
        assert list(server.stored.values()) == [world.junit()]
        code, text = world.pending()
        assert (code, "nothing is pending" in text) == (0, True)


def test_a_server_that_sends_the_token_back_does_not_get_it_printed(world: World) -> None:
    def echoes(server: Misbehaving, conn: socket.socket, seen: receivers.Seen | None) -> None:
        assert seen
        body = f"you said {seen.headers['authorization']}".encode()
        answers(400, body)(server, conn, seen)

    with misbehaving(echoes) as server:
        world.declare(archive=put(server.url))
        code, text = world.to("archive")
    assert (code, "Bearer (secret)" in text) == (3, True)


def test_netrc_is_not_read_and_no_proxy_stands_before_loopback(world: World) -> None:
    netrc = Path(world.env["HOME"]) / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password from-netrc\n")
    netrc.chmod(0o600)
    with misbehaving(takes()) as server, misbehaving(takes()) as proxy:
        world.env |= {"http_proxy": proxy.url, "HTTP_PROXY": proxy.url, "ALL_PROXY": proxy.url}
        world.declare(archive=put(server.url))
        assert world.to("archive")[0] == 0
        assert [seen.headers["authorization"] for seen in server.requests] == [f"Bearer {TOKEN}"]
        assert proxy.connections == 0


def test_the_environment_s_proxy_is_used_elsewhere(world: World) -> None:
    with misbehaving(takes()) as proxy:
        world.env |= {"http_proxy": proxy.url}
        world.declare(archive='kind = "http"\nurl = "http://files.invalid/{run}"\n' + FAST)
        assert world.to("archive")[0] == 0
        assert [seen.path for seen in proxy.requests] == [f"http://files.invalid/{world.run.id}"]


def test_two_publishers_at_once_send_once(world: World) -> None:
    def slowly(server: Misbehaving, conn: socket.socket, seen: receivers.Seen | None) -> None:
        time.sleep(1)
        takes()(server, conn, seen)

    with misbehaving(slowly) as server:
        world.declare(inbox=post(server.url, ""))
        children = [world.start("--to", "inbox", "--run", str(world.folder)) for _ in range(3)]
        assert [world.end(child)[0] for child in children] == [0, 0, 0]
        assert (len(server.requests), len(server.stored)) == (1, 1)
    assert world.waiting == 0


def kill_when(world: World, condition: Callable[[], bool], *args: str) -> None:
    """Start a publisher and send it SIGKILL as soon as the condition holds."""
    child = world.start(*args)
    while child.poll() is None and not condition():
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    assert world.end(child)[0] == -signal.SIGKILL, "it had ended before it could be killed"


@pytest.mark.parametrize(
    ("spooled", "asked"),
    [(1, 0), *(pytest.param(*when, marks=pytest.mark.thorough) for when in ((4, 0), (6, 1), (0, 3), (0, 6)))],
)
def test_sigkill_loses_and_doubles_nothing(world: World, spooled: int, asked: int) -> None:
    """A publisher to six receivers is killed in the midst of spooling or of sending; the next one sends what
    is left."""

    def slowly(server: Misbehaving, conn: socket.socket, seen: receivers.Seen | None) -> None:
        time.sleep(0.3)
        takes()(server, conn, seen)

    names = [f"r{n}" for n in range(6)]
    args = (*(word for name in names for word in ("--to", name)), "--run", str(world.folder))
    with misbehaving(slowly) as server:
        world.declare(**{name: put(f"{server.url}/{name}") for name in names})
        kill_when(
            world,
            lambda: world.waiting >= spooled and server.connections >= asked,
            *args,
        )
        code, text = world.publish(*args)
        assert code == 0, text
        assert set(server.stored) == {f"/{name}/{world.run.id}/junit.xml" for name in names}
        assert set(server.stored.values()) == {world.junit()}
        # At most the one that was on its way went out twice, onto itself.
        assert len(server.requests) <= len(names) + 1
    assert world.waiting == 0
    assert not list((world.root / "state" / "kmodpipe" / "outbox" / "work").glob("[!.]*"))


# -- where secrets may show -------------------------------------------------------------------------------
def test_the_token_is_in_no_argument_list_and_its_file_has_to_be_private(world: World) -> None:
    (world.root / "server").mkdir()
    secret = world.root / "server" / "token"
    secret.write_text(f"{TOKEN}\n")
    secret.chmod(0o644)
    del world.env["TOKEN"]

    def slowly(server: Misbehaving, conn: socket.socket, seen: receivers.Seen | None) -> None:
        time.sleep(2)
        takes()(server, conn, seen)

    with misbehaving(slowly) as server:
        world.declare(archive=f'kind = "http"\nurl = "{server.url}/{{run}}"\ntoken-file = "server/token"\n')
        code, text = world.to("archive")
        assert (code, server.connections) == (2, 0)
        assert "chmod 600" in text
        secret.chmod(0o600)
        child = world.start("--to", "archive", "--run", str(world.folder))
        told = b""
        while not server.requests and child.poll() is None:
            time.sleep(0.05)
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                told += (process / "cmdline").read_bytes()
        told += Path(f"/proc/{child.pid}/environ").read_bytes()
        assert world.end(child)[0] == 0
        assert TOKEN.encode() not in told
        assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_token_in_the_configuration_or_on_the_command_line_is_refused_unseen(world: World) -> None:
    (world.root / "pyproject.toml").write_text(
        '[tool.kmodpipe]\ntree = "t"\n[tool.kmodpipe.receivers.archive]\nkind = "http"\n'
        f'url = "https://files.example.org/{{run}}"\ntoken = "{TOKEN}"\n'
    )
    code, text = world.to("archive")
    assert (code, "holds a secret: token" in text) == (2, True)
    (world.root / "pyproject.toml").unlink()  # the token lay there, and nowhere else
    world.declare(archive='kind = "http"\nurl = "https://files.example.org/{run}"\n')
    code, text = world.to(f"archive:{TOKEN}")
    assert code == 2


# -- nginx with TLS ---------------------------------------------------------------------------------------
@pytest.fixture
def web(world: World) -> Iterator[receivers.Nginx]:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    require(program is not None, "no nginx; run: invoke setup --tests")
    assert program and any(need.program == "nginx" for need in facts.TESTS)
    with receivers.nginx(program, world.root / "server", TOKEN) as server:
        yield server


def test_nginx_with_tls_gets_the_file_once(world: World, web: receivers.Nginx) -> None:
    world.declare(archive=put(web.url, f'{FAST}ca-file = "{web.ca}"\n'))
    assert world.to("archive")[0] == 0
    assert web.stored == {f"{world.run.id}/junit.xml": world.junit()}
    assert world.to("archive")[0] == 0  # known: not sent again
    assert web.log == [f"PUT /{world.run.id}/junit.xml 201"]
    assert world.to("archive", "--again")[0] == 0
    assert web.log[1:] == [f"PUT /{world.run.id}/junit.xml 204"]
    assert len(web.stored) == 1


def test_a_certificate_of_an_unknown_ca_is_refused_before_anything_is_said(
    world: World, web: receivers.Nginx
) -> None:
    import trustme

    trustme.CA().cert_pem.write_to_path(world.root / "other-ca.pem")
    for extra in ("", f'ca-file = "{world.root}/other-ca.pem"\n'):
        world.declare(archive=put(web.url, FAST + extra))
        code, text = world.to("archive")
        assert code == 3
        assert "is not trusted" in text
        assert "ca-file" in text
    assert (web.log, web.stored) == ([], {})
    # The right host by the wrong name: its certificate is for localhost.
    world.declare(archive=put(web.url.replace("localhost", "127.0.0.1"), f'{FAST}ca-file = "{web.ca}"\n'))
    assert world.pending()[0] == 3
    assert (web.log, web.stored) == ([], {})
    # The environment's bundle counts, and what had waited arrives.
    world.declare(archive=put(web.url))
    world.env |= {"SSL_CERT_FILE": str(web.ca)}
    assert world.pending()[0] == 0
    assert web.stored == {f"{world.run.id}/junit.xml": world.junit()}


def test_a_wrong_token_is_told_by_nginx_and_put_right(world: World, web: receivers.Nginx) -> None:
    world.declare(archive=put(web.url, f'{FAST}ca-file = "{web.ca}"\n'))
    world.env["TOKEN"] = "another"
    code, text = world.to("archive")
    assert (code, "answered 403" in text) == (3, True)
    assert "is the token right" in text
    world.env["TOKEN"] = TOKEN
    assert world.pending()[0] == 0
    assert len(web.stored) == 1


# -- SQUAD ------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def squad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[receivers.Squad]:
    with receivers.squad(tmp_path_factory.mktemp("squad"), TOKEN) as server:
        yield server


def squad_table(url: str, extra: str = "") -> str:
    return (
        f'kind = "squad"\nurl = "{url}"\ngroup = "{receivers.GROUP}"\nproject = "{receivers.PROJECT}"\n'
        f'token-env = "TOKEN"\nbackoff-s = 0.1\n{extra}'
    )


def assert_squad_has(squad: receivers.Squad, run: Run, build: str) -> None:
    """Every result of the run is in this build of SQUAD, once, with its verdict."""
    (found,) = [b for b in squad.all("builds") if b["version"] == build]
    environments = {e["url"]: str(e["slug"]) for e in squad.all("environments")}
    test_runs = [t for t in squad.all("testruns") if t["build"] == found["url"]]
    in_build = {str(t["url"]) for t in test_runs}
    assert len(test_runs) == len(run.cells) + len({d.variant for d in run.dead_axes})
    got: Counter[tuple[str, str, str]] = Counter(
        (environments[str(t["environment"])], str(t["name"]), str(t["status"]))
        for t in squad.all("tests")
        if str(t["test_run"]) in in_build
    )
    words = {Verdict.PASS: "pass", Verdict.FAIL: "fail"}
    wanted: Counter[tuple[str, str, str]] = Counter()
    for cell, case in run.results():
        environment = cell.cell.replace("=", "-")
        wanted[environment, f"kmodpipe/{case.case}", words.get(case.verdict, "skip")] += 1
    for cell in run.cells:
        word = "skip" if cell.state is results.State.SKIPPED else "pass"
        wanted[cell.cell.replace("=", "-"), "kmodpipe/cell", word] += 1
    for dead in run.dead_axes:
        wanted[dead.variant, f"kmodpipe/axis-{dead.axis}", "fail"] += 1
    assert got == wanted


@pytest.mark.thorough
def test_squad_has_each_result_once_whatever_is_repeated(world: World, squad: receivers.Squad) -> None:
    world.declare(
        squad=squad_table(squad.url, 'build = "once-{run}"\nrun-url = "https://ci.example.org/{run}"\n')
    )
    code, text = world.to("squad")
    assert code == 0, text
    build = f"once-{world.run.id}"
    assert_squad_has(squad, world.run, build)
    assert world.to("squad")[0] == 0
    code, text = world.to("squad", "--again")  # SQUAD itself knows it
    assert code == 0, text
    shutil.rmtree(world.root / "state")  # another machine, the same results
    code, text = world.to("squad")
    assert (code, "8 delivered" in text) == (0, True), text
    assert_squad_has(squad, world.run, build)
    told = [str(test["log"]) for test in squad.all("tests") if test["status"] == "fail"]
    assert any(log.startswith("expected ESTALE, observed mounted") for log in told)
    cell = "index-nouuid.INDEX=y.NOUUID=y"
    (environment,) = [e["url"] for e in squad.all("environments") if e["slug"] == cell.replace("=", "-")]
    (one,) = [t for t in squad.all("testruns") if t["environment"] == environment]
    assert one["completed"]
    assert one["job_status"] == "Complete"
    assert one["job_url"] == f"https://ci.example.org/{world.run.id}"
    assert squad.log(one["id"]) == f"console.log of {cell}\n"
    assert "reproduce.sh" in json.dumps(one["attachments"])
    metrics = {str(m["name"]) for m in squad.all("metrics")}
    assert "kmodpipe/no-verdict" in metrics


class _Between:
    """A proxy before SQUAD that passes each request on and lets some answers get lost."""

    def __init__(self, squad: receivers.Squad, lost: set[int]) -> None:
        outer = self
        self.count = 0
        self.lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                import requests

                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.lock:
                    outer.count += 1
                    number = outer.count
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
                answer = requests.post(f"{squad.url}{self.path}", data=body, headers=headers, timeout=60)
                if number in lost:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.mark.thorough
def test_squad_has_each_result_once_though_answers_get_lost(world: World, squad: receivers.Squad) -> None:
    between = _Between(squad, lost={2, 5, 6})
    try:
        world.declare(squad=squad_table(between.url, 'build = "lost-{run}"\n'))
        code, text = world.to("squad")
        assert code == 0, text
        assert between.count == 8 + 3
        assert_squad_has(squad, world.run, f"lost-{world.run.id}")
    finally:
        between.server.shutdown()
        between.server.server_close()


@pytest.mark.thorough
def test_squad_has_each_result_once_though_publishers_are_killed(
    world: World, squad: receivers.Squad
) -> None:
    between = _Between(squad, lost=set())
    try:
        world.declare(squad=squad_table(between.url, 'build = "killed-{run}"\n'))
        args = ("--to", "squad", "--run", str(world.folder))
        for asked in (1, 3, 6):
            kill_when(world, lambda asked=asked: between.count >= asked, *args)  # type: ignore[misc]
        code, text = world.publish(*args)
        assert code == 0, text
        assert between.count >= 8
    finally:
        between.server.shutdown()
        between.server.server_close()
    assert_squad_has(squad, world.run, f"killed-{world.run.id}")


@pytest.mark.thorough
def test_squad_refuses_a_wrong_token_and_an_unknown_project(world: World, squad: receivers.Squad) -> None:
    table = squad_table(squad.url, 'build = "wrong-{run}"\n')
    world.declare(squad=table)
    world.env["TOKEN"] = "f" * 40
    code, text = world.to("squad")
    assert (code, "is the token right" in text) == (3, True), text
    world.env["TOKEN"] = TOKEN
    world.declare(squad=table.replace(receivers.PROJECT, "nothing"))
    code, text = world.pending()
    assert (code, "is the URL right" in text) == (3, True), text
    assert world.waiting == 8
    world.declare(squad=table)
    assert world.pending()[0] == 0
    assert_squad_has(squad, world.run, f"wrong-{world.run.id}")


# -- KCIDB, Buildkite -------------------------------------------------------------------------------------
def test_kcidb_gets_one_valid_document(world: World) -> None:
    with misbehaving(answers(503), drops(b"HTTP"), takes(200, b'{"status": "ok", "id": "1"}')) as server:
        world.declare(
            kcidb=f'kind = "kcidb"\norigin = "kmodpipe"\nurl = "{server.url}/submit"\n'
            f'token-env = "TOKEN"\n{FAST}'
        )
        code, text = world.to("kcidb")
        assert code == 0, text
        last = server.requests[-1]
    assert last.headers["authorization"] == f"Bearer {TOKEN}"
    document = json.loads(last.body)
    assert LATEST.is_valid(document)
    assert len({seen.body for seen in server.requests}) == 1  # the same ids, so the same objects
    assert len(document["tests"]) == len(list(world.run.results())) + 1


def form_of(seen: receivers.Seen) -> Mapping[str, str]:
    """The fields of a multipart form, as Python's own mail parser reads them."""
    from email.parser import BytesParser

    head = f"Content-Type: {seen.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + seen.body)
    found = {}
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]
        found[str(name)] = part.get_payload(decode=True).decode()  # type: ignore[union-attr]
    return found


def test_buildkite_s_answer_is_read_to_its_end(world: World) -> None:
    body = json.dumps({"queued": 20, "skipped": 9, "errors": ["classname is missing"]}).encode()
    with misbehaving(answers(429), takes(202, body)) as server:
        world.declare(
            buildkite=f'kind = "buildkite"\nurl = "{server.url}/v1/uploads"\ntoken-env = "TOKEN"\n{FAST}'
        )
        code, text = world.to("buildkite")
        assert code == 0, text
        assert "left out 9 of 29 records: classname is missing" in text
        seen = server.requests[-1]
    assert seen.headers["authorization"] == f'Token token="{TOKEN}"'
    form = form_of(seen)
    assert form["format"] == "junit"
    assert form["run_env[key]"] == f"kmodpipe-{world.run.id}"
    assert form["data"].replace("\r\n", "\n") == world.junit().decode()
