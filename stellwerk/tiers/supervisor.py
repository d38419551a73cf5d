"""A server process that is kept alive: started, waited for, restarted, and ended with all its children."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from stellwerk.errors import ConfigurationError, MissingExtraError, TierUnavailableError
from stellwerk.tiers.vllm_command import Command

_POLL = 0.1  # seconds
_TAIL = 20  # lines of its log that an error repeats
_WRONG_USAGE = 2  # exit code of a command line that vLLM does not take: another try changes nothing
_LEFTOVERS = 5.0  # seconds that children of a server that died have to end


@dataclass(slots=True)
class BackOff:
    """How long to wait before a restart, and when to give up.

    Args:
        limit: failures in a row after which it is given up.
        first: seconds before the first restart; each further wait is twice as long.
        most: seconds at most.
        forget: seconds of health after which earlier failures do not count.
    """

    limit: int
    first: float = 1.0
    most: float = 60.0
    forget: float = 600.0
    failures: int = 0

    def failed(self, healthy: float) -> float | None:
        """Seconds to wait after a failure; None to give up.

        Args:
            healthy: seconds that the server had been healthy.
        """
        if healthy >= self.forget:
            self.failures = 0
        self.failures += 1
        if self.failures > self.limit:
            return None
        return float(min(self.most, self.first * 2 ** (self.failures - 1)))


@dataclass(slots=True)
class Supervisor:
    """Runs one server until it ends, is signalled, or fails too often.

    Args:
        name: of the tier, for messages.
        command: how to start it.
        ready_timeout: seconds until it must be healthy.
        grace: seconds that it has to end after a signal; then its whole process group is killed.
        back_off: waits between restarts.
        say: gets each message for a person.
        log: gets each line that the server writes.
    """

    name: str
    command: Command
    ready_timeout: float
    grace: float
    back_off: BackOff
    say: Callable[[str], None]
    log: Callable[[str], None]
    _signals: list[int] = field(default_factory=list)
    _tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL))

    def run(self) -> int:
        """Serve, and give the exit code of the server: 128 and the signal's number if a signal ended it.

        Raises:
            ConfigurationError: if something listens on its port already.
            MissingExtraError: if there is no such executable.
            TierUnavailableError: if it does not become healthy in time.
        """
        with self._received():
            while True:
                code, healthy = self._once()
                if self._signals or code == 0:
                    return code
                if code == _WRONG_USAGE and not healthy:
                    self.say(f"{self.name}: vLLM does not take this command line; not tried again")
                    return code
                wait = self.back_off.failed(healthy)
                if wait is None:
                    self.say(
                        f"{self.name}: ended with {code}, {self.back_off.failures} times in a row; given up"
                    )
                    self._say_tail()
                    return code
                self.say(f"{self.name}: ended with {code}; started again in {wait:g} s")
                if self._pause(wait):
                    return 128 + self._signals[0]

    def _once(self) -> tuple[int, float]:
        """Start it and wait for its end; its exit code, and for how many seconds it was healthy."""
        process, reader = self._start()
        healthy = 0.0
        try:
            since = self._wait_ready(process)
            while process.poll() is None and not self._signals:
                time.sleep(_POLL)
            if since is not None:
                healthy = time.monotonic() - since
            if process.poll() is None:
                self._forward(process)
        finally:
            self._kill_group(process)
            reader.join(timeout=2.0)
        code = process.returncode
        return (128 - code if code < 0 else code), healthy

    def _start(self) -> tuple[subprocess.Popen[str], threading.Thread]:
        host, port = self.command.host, self.command.port
        if _listens(host, port):
            raise ConfigurationError(
                f"something listens on {host}:{port} already; end it, or give tier {self.name!r} another port"
            )
        try:
            process = subprocess.Popen(  # noqa: S603  # the user's own command, without a shell
                self.command.argv,
                env=self.command.child_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except FileNotFoundError:
            if self.command.argv[0] == "vllm":
                raise MissingExtraError("vllm", "vllm") from None
            raise ConfigurationError(
                f"there is no executable {self.command.argv[0]}; set serve.executable of tier {self.name!r}"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"cannot start {self.command.argv[0]}: {error.strerror}") from None
        self._tail.clear()
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        return process, reader

    def _read(self, process: subprocess.Popen[str]) -> None:
        key = self.command.key.get_secret_value() if self.command.key is not None else ""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                told = line.rstrip("\n")
                if key:
                    told = told.replace(key, "***")
                self._tail.append(told)
                self.log(told)

    def _wait_ready(self, process: subprocess.Popen[str]) -> float | None:
        """When it became healthy; None if it ended or a signal came first."""
        started = told = time.monotonic()
        while process.poll() is None and not self._signals:
            if _healthy(self.command.host, self.command.port):
                now = time.monotonic()
                address = f"{self.command.host}:{self.command.port}"
                self.say(f"{self.name}: ready on {address} after {now - started:.0f} s")
                return now
            now = time.monotonic()
            if now - started > self.ready_timeout:
                self._say_tail()
                raise TierUnavailableError(
                    f"tier {self.name!r} is not healthy after {self.ready_timeout:g} s; its last lines are "
                    "above; raise serve.ready_timeout if it only needs longer"
                )
            if now - told >= 10:
                told = now
                self.say(f"{self.name}: not ready yet, {now - started:.0f} of {self.ready_timeout:g} s")
            time.sleep(_POLL)
        return None

    def _forward(self, process: subprocess.Popen[str]) -> None:
        # A terminal that is gone is no reason to die without tidying up.
        number = self._signals[0]
        process.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)
        self.say(f"{self.name}: ending; {self.grace:g} s until it is killed (again: at once)")
        end = time.monotonic() + self.grace
        while process.poll() is None and time.monotonic() < end and len(self._signals) < 2:
            time.sleep(_POLL)

    def _kill_group(self, process: subprocess.Popen[str]) -> None:
        """End what is left of it: a server that died leaves workers that hold the GPU."""
        if process.poll() is not None and self._send_group(process, signal.SIGTERM):
            end = time.monotonic() + _LEFTOVERS
            while time.monotonic() < end and self._send_group(process, 0):
                time.sleep(_POLL)
        self._send_group(process, signal.SIGKILL)
        process.wait()

    @staticmethod
    def _send_group(process: subprocess.Popen[str], number: int) -> bool:
        # The leader's number is the group's, and is not given away while a member lives.
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _say_tail(self) -> None:
        for line in self._tail:
            self.say(f"  {line}")

    def _pause(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._signals:
            time.sleep(min(_POLL, max(0.0, end - time.monotonic())))
        return bool(self._signals)

    @contextmanager
    def _received(self) -> Iterator[None]:
        def receive(number: int, frame: FrameType | None) -> None:
            self._signals.append(number)

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [(number, signal.signal(number, receive)) for number in numbers]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def _healthy(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2.0)  # not by way of a proxy
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
