"""Boot one guest under QEMU and watch it to its end.

    console   ttyS0 -> a file of bounded size; scanned for a panic
    channel   ttyS1 -> a file of bounded size, and the records of `protocol`

QEMU inherits both: the console is a pipe; the channel, on which we answer, a socket. A slow reader slows the
guest down (QEMU holds a byte back until it is taken), so nothing is lost. One loop waits for everything, and
never longer than the deadlines. QEMU is killed and reaped in every case, and the kernel kills it if this
process is killed (`qemu.guarded`).
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from io import FileIO

from kmodpipe.logs.kernel_log import Scanner, parse
from kmodpipe.util import process
from kmodpipe.vm.boot_record import BootRecord, BootSpec, GuestEnd
from kmodpipe.vm.capped_log import CappedFile
from kmodpipe.vm.cpu_time import Reading
from kmodpipe.vm.protocol import Channel, Ledger, Record, encode_ahead
from kmodpipe.vm.qemu import guarded, qemu_argv, require_same
from kmodpipe.vm.watchdog import GuestClock, Limit, Watchdog

_READ_BYTES = 64 * 1024
_POLL_S = 0.25
# QEMU writes each byte by itself, and to be woken for each took a tenth of a suite's processor time. So
# we read what has come in a while, which is not longer than the channel's socket has room for if a guest
# sends as fast as it can: a byte there counts as so many (SKB_TRUESIZE(1) in Linux'
# include/linux/skbuff.h, rounded up).
_GATHER_S = 0.002
_CHANNEL_BUFFER_BYTES = 4 * 1024 * 1024  # asked for; the kernel caps it (net.core.wmem_max)
_BYTE_COUNTS_AS = 1024
_GUEST_BYTES_A_S = 1_000_000
_STDERR_BYTES = 8 * 1024
# Console bytes that are read at once before the channel is read again.
_DRAIN_BYTES = 4 * 1024 * 1024


def run(spec: BootSpec, on_record: Callable[[Record], None] | None = None) -> BootRecord:
    """Boot once, wait for the end, and return the record of the boot.

    ``on_record`` is called with every record as it arrives. Whatever the guest or QEMU does ends in a
    `BootRecord`. Raises InfraError if QEMU is not installed, Interrupted if the run was already stopped.
    """
    with ExitStack() as stack:
        guest = _Guest(spec, on_record)
        guest.open(stack)
        end, detail = guest.watch()
    return guest.record(end, detail)


class _Guest:
    """A running QEMU, and all that its boot record needs."""

    def __init__(self, spec: BootSpec, on_record: Callable[[Record], None] | None) -> None:
        self._spec, self._timeouts, self._limits = spec, spec.case_timeouts, spec.limits
        self._watchdog = Watchdog(spec.deadlines, spec.time_scale)
        self._clock = GuestClock()
        self._on_record = on_record
        self._parser = Channel(spec.nonce)
        self._ledger = Ledger(spec.case_timeouts.keys())
        self._scanner = Scanner()
        self._selector = selectors.DefaultSelector()
        self._records: list[Record] = []
        self._record_bytes = 0
        self._console_before = 0
        self._stderr = b""
        self._offsets: dict[int, tuple[int, int]] = {}
        self._end: GuestEnd | None = None
        self._detail = ""
        self._to_init_s: float | None = None
        self._grace: Limit | None = None
        self._case_since: dict[int, Reading] = {}
        self._case_spent: dict[int, Reading] = {}
        self._killed = False

    # -- start and stop --------------------------------------------------------------------------
    def open(self, stack: ExitStack) -> None:
        """Start QEMU. Everything opened here is closed with ``stack``."""
        self._console_file = CappedFile(self._spec.console_path.open("wb"), self._limits)
        stack.callback(self._console_file.close)
        self._channel_file = CappedFile(self._spec.channel_path.open("wb"), self._limits)
        stack.callback(self._channel_file.close)
        self._console, console_end = process.pipe()
        self._channel, channel_end = socket.socketpair()
        channel_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHANNEL_BUFFER_BYTES)
        room = channel_end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // _BYTE_COUNTS_AS
        self._gather_s = min(_GATHER_S, room / _GUEST_BYTES_A_S)
        self._errors, errors_end = process.pipe()
        for end in (self._console, self._channel, self._errors, console_end, channel_end, errors_end):
            stack.callback(end.close)
        require_same(self._spec.machine)
        console = f"/proc/self/fd/{console_end.fileno()}"
        argv = qemu_argv(self._spec.machine, console=console, channel=channel_end.fileno())
        self._started = self._rate_since = time.monotonic()
        self._rate_base = 0
        self._child = process.spawn(
            guarded(argv),
            stdout=subprocess.DEVNULL,
            stderr=errors_end.fileno(),
            pass_fds=(console_end.fileno(), channel_end.fileno()),
        )
        self._watchdog.start(self._child.pid, self._started)
        stack.callback(self._stop)
        console_end.close()
        channel_end.close()
        errors_end.close()
        stack.enter_context(self._selector)
        for stream in (self._console, self._channel, self._errors):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ)

    def _stop(self) -> None:
        if self._child.poll() is None:
            self._killed = True
            process.kill_group(self._child, grace_s=0.5)
            # A process in an uninterruptible system call may take a moment to die.
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(10)
        process.forget(self._child)
        self._duration_s = time.monotonic() - self._started

    # -- the loop --------------------------------------------------------------------------------
    def watch(self) -> tuple[GuestEnd, str]:
        """Watch until the boot has ended; return how it ended, with the detail."""
        while self._end is None:
            self._look()
            limit = self._watchdog.first(self._limits_now())
            left = self._watchdog.left_s(limit)
            if process.stopping():
                self._finish(GuestEnd.INTERRUPTED, "interrupted")
            elif left <= 0:
                passed = self._watchdog.describe(limit)
                self._pump()  # what has already arrived still counts
                if limit in self._limits_now():
                    if process.is_stopped(self._child):
                        # No guest can stop its QEMU, so this is not a hang of the kernel.
                        self._finish(GuestEnd.QEMU_FAILED, f"QEMU was stopped from outside ({passed})")
                    else:
                        self._finish(limit.end, passed)
            else:
                if self._selector.select(min(left, _POLL_S)):
                    time.sleep(self._gather_s)
                ended = self._ended()
                busy = self._pump()
                if ended and not busy:
                    self._exited()
        self._parser.close()
        return self._end, self._detail

    def _ended(self) -> bool:
        """Return whether QEMU has ended. Its CPU time is read before it is reaped: /proc loses it then."""
        with suppress(ChildProcessError):
            if os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False
            self._watchdog.look(last=True)
        return self._child.poll() is not None

    def _look(self) -> None:
        """Read the time that QEMU has had, and charge it to the running case."""
        now = self._watchdog.look()
        case = self._ledger.running
        if case is not None and case in self._case_since:
            self._case_spent[case] = now.since(self._case_since[case])

    def _correct_clock(self, uptime_ms: int) -> None:
        """Send the guest how far its clock is ahead, given the time that it has just sent."""
        ahead_s = self._clock.correction_s(uptime_ms / 1000, self._watchdog.now)
        if ahead_s is not None:
            # A correction that is lost does no harm: each one is the total, not a step.
            with suppress(OSError):
                self._channel.send(encode_ahead(self._spec.nonce, ahead_s))

    def _limits_now(self) -> list[Limit]:
        """Return the limits that apply now."""
        d, begin = self._watchdog.deadlines, Reading()
        rows = [Limit(begin, d.whole_s, GuestEnd.WHOLE_TIMEOUT, "not through after {}")]
        if self._grace:
            return [*rows, self._grace]
        if not self._ledger.greeted:
            what = "no word from the agent within {} of the start"
            return [*rows, Limit(begin, d.boot_s, GuestEnd.NO_BOOT, what)]
        rows.append(Limit(self._watchdog.heard, d.silence_s, GuestEnd.SILENCE, "no sign of life for {}"))
        if (case := self._ledger.running) is not None:
            limit_s, since = self._timeouts.get(case, 0), self._case_since.get(case, begin)
            what = f"case {case} with its limit of {limit_s:g} s is not over after {{}}"
            rows.append(Limit(since, limit_s + d.case_grace_s, GuestEnd.CASE_TIMEOUT, what))
        return rows

    def _grant(self, seconds: float, end: GuestEnd, detail: str = "") -> None:
        """Give QEMU so many seconds from now to end by itself; ``end`` is recorded in any case."""
        self._grace = Limit(self._watchdog.now, seconds, end, detail=detail)

    def _pump(self) -> bool:
        """Read and handle what has arrived; return whether there was anything.

        The channel is read first, then the console, and only then are the records handled: so whatever the
        guest printed before a record is already in the console file. What it prints after a record lies
        behind the console's size at the last read of the channel that did not yet return the record.
        """
        at_read = self._console_file.total
        data = self._read(self._channel)
        console = self._drain_console()
        errors = self._read_stderr()
        if data:
            self._channel_file.write(data)
            for record in self._parser.feed(data):
                self._take(record, self._console_before)
        if len(data) < _READ_BYTES:
            self._console_before = at_read
        if data or console:
            self._watchdog.sign_of_life()
            self._check_flood()
        return bool(data or console or errors)

    def _drain_console(self) -> int:
        taken = 0
        while taken < _DRAIN_BYTES and (data := self._read(self._console)):
            taken += len(data)
            self._console_file.write(data)
            if self._scanner.feed(data) and (not self._grace or self._grace.end is not GuestEnd.PANIC):
                self._grant(self._watchdog.deadlines.panic_grace_s, GuestEnd.PANIC)
        return taken

    def _read(self, stream: FileIO | socket.socket) -> bytes:
        try:
            data = os.read(stream.fileno(), _READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            with suppress(KeyError, ValueError):
                self._selector.unregister(stream)
        return data

    def _read_stderr(self) -> int:
        try:
            data = os.read(self._errors.fileno(), _READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            with suppress(KeyError, ValueError):
                self._selector.unregister(self._errors)
        self._stderr = (self._stderr + data)[-_STDERR_BYTES:]
        return len(data)

    def _take(self, record: Record, console_before: int) -> None:
        self._look()
        self._ledger.take(record)
        case = record.number("case")
        if record.type == "hello" and self._to_init_s is None:
            self._to_init_s = self._watchdog.now.wall_s
        elif record.type == "start" and case is not None and len(self._offsets) < len(self._timeouts):
            self._case_since[case] = self._watchdog.now
            self._offsets[case] = (console_before, sys.maxsize)
        elif record.type == "end" and case is not None and case in self._offsets:
            self._offsets[case] = (self._offsets[case][0], self._console_file.total)
        if (uptime_ms := record.number("uptime_ms")) is not None:
            self._correct_clock(uptime_ms)
        if record.type != "beat":
            self._keep(record)
        # A panic overrides the agent's last record. A guest with a stuck case can still retire.
        overrides = self._grace is None or (record.type == "retired" and self._grace.end is GuestEnd.STUCK)
        if record.type in ("done", "retired") and overrides:
            self._grant(self._watchdog.deadlines.exit_grace_s, *self._checked_end())
        elif not self._grace and self._ledger.stuck is not None:
            text = f"case {self._ledger.stuck} left something behind that cannot be ended"
            self._grant(self._watchdog.deadlines.exit_grace_s, GuestEnd.STUCK, text)
        if self._on_record:
            self._on_record(record)

    def _keep(self, record: Record) -> None:
        self._record_bytes += 64 + sum(map(len, record.fields.values()))
        if len(self._records) < self._limits.records and self._record_bytes <= self._limits.record_bytes:
            self._records.append(record)
        else:
            self._finish(GuestEnd.FLOOD, f"more than {len(self._records)} records")

    def _checked_end(self) -> tuple[GuestEnd, str]:
        """Return the end that the last record claims, or EARLY_EXIT if the stream contradicts it."""
        if self._parser.whole and not self._parser.cut:
            if self._ledger.complete:
                return GuestEnd.DONE, ""
            if self._ledger.retired_well:
                return GuestEnd.RETIRED, self._ledger.why
        return GuestEnd.EARLY_EXIT, "; ".join(self._problems()) or "the last record does not fit the plan"

    def _problems(self) -> list[str]:
        lost = self._parser.damaged
        damage = [f"the verdict channel is damaged ({lost} records lost, broken or repeated)"] if lost else []
        return [*self._ledger.problems, *damage]

    def _check_flood(self) -> None:
        total = self._console_file.total + self._channel_file.total
        now = time.monotonic()
        if total > self._limits.total_bytes:
            self._finish(GuestEnd.FLOOD, f"the guest sent more than {self._limits.total_bytes} bytes")
        elif total - self._rate_base > self._limits.rate_bytes:
            self._finish(
                GuestEnd.FLOOD,
                f"the guest sent {total - self._rate_base} bytes in {now - self._rate_since:.0f} s",
            )
        elif now - self._rate_since > self._limits.rate_window_s:
            self._rate_since, self._rate_base = now, total

    # -- the end ---------------------------------------------------------------------------------
    def _finish(self, end: GuestEnd, detail: str) -> None:
        if self._end is None:
            self._end, self._detail = end, detail

    def _exited(self) -> None:
        """Record the end after QEMU has ended by itself and all its output was read."""
        status = self._child.returncode
        stderr = self._stderr.decode("utf-8", "replace").strip()
        last = [line for line in stderr.splitlines() if "warning:" not in line][-1:]
        if process.stopping():
            self._finish(GuestEnd.INTERRUPTED, "interrupted")
        elif self._grace:
            self._finish(self._grace.end, self._grace.detail)
        elif status != 0:
            # No guest can end QEMU with an error: without -device isa-debug-exit, restart and power-off
            # both end it with status 0.
            text = f"QEMU {process.describe_status(status)}"
            self._finish(GuestEnd.QEMU_FAILED, ": ".join([text, *last]))
        else:
            where = "before its agent said a word" if not self._ledger.greeted else "without the last record"
            self._finish(GuestEnd.EARLY_EXIT, "\n".join([f"the guest ended {where}", *self._last_lines()]))

    def _last_lines(self, count: int = 5) -> list[str]:
        text = bytes(self._console_file.tail[-4096:]).decode("utf-8", "replace")
        return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]

    def _panic_title(self) -> str:
        reports = parse(bytes(self._console_file.tail))
        return reports[-1].title if reports else "kernel panic"

    def record(self, end: GuestEnd, detail: str) -> BootRecord:
        """Return the record of a boot that has ended."""
        if end is GuestEnd.PANIC:
            detail = self._panic_title()
        elif end in (GuestEnd.DONE, GuestEnd.RETIRED):
            end, detail = self._checked_end()  # again: something may have come after the last record
        total = self._console_file.total
        return BootRecord(
            spec=self._spec.machine,
            end=end,
            detail=detail,
            records=tuple(self._records),
            console_path=self._spec.console_path,
            channel_path=self._spec.channel_path,
            argv=tuple(qemu_argv(self._spec.machine)),
            duration_s=self._duration_s,
            to_init_s=self._to_init_s,
            returncode=self._child.returncode,
            stderr_tail=self._stderr.decode("utf-8", "replace"),
            damaged=self._parser.damaged + len(self._ledger.problems),
            foreign_bytes=self._parser.foreign_bytes,
            console_bytes=total,
            console_cut_bytes=self._console_file.cut_bytes,
            console_cut_from=self._limits.file_bytes,
            console_offsets={i: (start, min(stop, total + 1)) for i, (start, stop) in self._offsets.items()},
            spent=self._watchdog.now,
            case_spent=self._case_spent,
        )
