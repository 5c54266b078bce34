"""Runs code as on macOS or Windows, as far as Linux can imitate them.

``python platforms.py`` reads tasks, one JSON list per line: a platform, the code, a folder, and the
seconds it may take. For each it forks a child, which takes away what the platform lacks, puts
stand-ins in place of what it has instead, executes the code in the folder, and ends as an
interpreter does. Its output goes to ``stdout`` and ``stderr`` beside the folder. Then a line with
its exit status is written.

Everything but sse_client is imported before that, since it may look at the system when it is
imported. As this takes far longer than the code, it is done once for all children.

``os.name`` and the separator of paths stay: ``pathlib`` makes no paths of another system.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import json
import os
import select
import selectors
import signal
import socket
import sys
import types
import warnings
import weakref
from pathlib import Path

#: Modules that are imported first, if they are installed.
_BEFORE = """
    asyncio ctypes http.server importlib.metadata logging.handlers msgspec multiprocessing platform
    prometheus_client pydantic redis requests rich.live rich.text sqlite3 ssl subprocess tempfile
    unittest.mock urllib3.contrib.socks
"""

_MODULES_OF_POSIX = "fcntl grp pty pwd resource syslog termios tty"

#: Names that neither macOS nor Windows has.
_OF_LINUX = {
    os: """
        O_PATH O_TMPFILE eventfd getrandom memfd_create pipe2 posix_fadvise posix_fallocate
        sched_getaffinity splice timerfd_create
    """,
    select: "epoll",
    selectors: "EpollSelector",
    signal: "sigtimedwait sigwaitinfo",
    socket: """
        AF_NETLINK AF_PACKET AF_VSOCK MSG_NOSIGNAL SOCK_CLOEXEC SOCK_NONBLOCK SO_BINDTODEVICE
        SO_INCOMING_CPU SO_MARK SO_PEERCRED TCP_CONGESTION TCP_CORK TCP_DEFER_ACCEPT TCP_INFO
        TCP_KEEPIDLE TCP_LINGER2 TCP_QUICKACK TCP_SYNCNT TCP_USER_TIMEOUT
    """,
}

#: Further names that Windows lacks.
_OF_POSIX = {
    os: """
        O_CLOEXEC O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC WNOHANG chown fchdir fchown fork
        forkpty getegid geteuid getgid getgroups getpgid getpgrp getsid getuid initgroups killpg
        lchown mkfifo mknod nice openpty posix_spawn pread pwrite readv register_at_fork sendfile
        setsid statvfs sync sysconf uname wait wait3 wait4 writev
    """,
    select: "poll",
    selectors: "PollSelector",
    signal: """
        ITIMER_REAL SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1
        SIGUSR2 SIGWINCH alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt
        sigpending sigwait
    """,
    socket: "AF_UNIX CMSG_LEN MSG_DONTWAIT SCM_RIGHTS SO_REUSEPORT recv_fds send_fds",
}


def become(platform: str) -> None:
    """Make this process imitate one on the system, as far as possible."""
    {"darwin": _become_darwin, "win32": _become_win32}[platform]()
    _refuse_to_shut_down_what_is_not_connected()
    _forbid_paths_of_linux()
    sys.platform = platform


def _become_darwin() -> None:
    import fcntl

    _take_away(_OF_LINUX)
    control, full_sync = fcntl.fcntl, 51

    def control_of_darwin(descriptor, command, argument=0):
        if command == full_sync:
            os.fsync(descriptor)
            return 0
        return control(descriptor, command, argument)

    fcntl.fcntl = control_of_darwin
    fcntl.F_FULLFSYNC = full_sync
    socket.TCP_KEEPALIVE = 4  # the number of that option here
    selectors.KqueueSelector = selectors.DefaultSelector = _KqueueSelector
    os.register_at_fork(after_in_child=_lose_kqueues)  # before the package registers its own


_kqueues: weakref.WeakSet[_KqueueSelector] = weakref.WeakSet()


def _lose_kqueues() -> None:
    for each in _kqueues:
        os.close(each._descriptor)


class _KqueueSelector(selectors.PollSelector):
    """Has a descriptor like that of a kqueue: a child gets no copy, and may reuse the number."""

    __module__ = "selectors"

    def __init__(self):
        super().__init__()
        self._descriptor = os.open(os.devnull, os.O_RDONLY)
        _kqueues.add(self)

    def close(self):
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        super().close()

    __del__ = close


def _become_win32() -> None:
    stand_in = _msvcrt()
    _take_away(_OF_LINUX)
    _take_away(_OF_POSIX)
    for name in _MODULES_OF_POSIX.split():
        sys.modules[name] = None  # so that its import fails
    sys.modules["msvcrt"] = stand_in
    selectors.DefaultSelector = selectors.SelectSelector
    socket.socketpair = _socketpair_of_win32
    # Any option that can be set. Its effect there is not imitated.
    socket.SO_EXCLUSIVEADDRUSE = socket.SO_KEEPALIVE
    _refuse_what_windows_refuses()


def _take_away(names) -> None:
    for module, missing in names.items():
        for name in missing.split():
            if hasattr(module, name):
                delattr(module, name)


def _msvcrt() -> types.ModuleType:
    """Return a stand-in that locks a whole file instead of a range of its bytes."""
    import fcntl

    def locking(descriptor, mode, count):
        assert count == 1
        try:
            fcntl.flock(descriptor, mode)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    stand_in = types.ModuleType("msvcrt")
    stand_in.LK_NBLCK = fcntl.LOCK_EX | fcntl.LOCK_NB
    stand_in.LK_UNLCK = fcntl.LOCK_UN
    stand_in.locking = locking
    return stand_in


def _socketpair_of_win32(*_):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connected = socket.create_connection(listener.getsockname())
        return connected, listener.accept()[0]


def _refuse_what_windows_refuses() -> None:
    """Refuse to remove or replace an open file, and to open a folder."""

    def refusing(call):
        @functools.wraps(call)
        def refuse(*paths, **options):
            if any(map(_is_open_here, paths)):
                raise PermissionError(errno.EACCES, "The file is in use", str(paths[0]))
            return call(*paths, **options)

        return refuse

    for name in ("rename", "replace", "unlink"):
        setattr(Path, name, refusing(getattr(Path, name)))
    open_of_linux = os.open

    def open_file(path, flags, *args, **kwargs):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_of_linux(path, flags, *args, **kwargs)

    os.open = open_file


def _is_open_here(path) -> bool:
    """Whether this process has the file open."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if descriptor.readlink() == Path(path).resolve():
                return True
    return False


def _refuse_to_shut_down_what_is_not_connected() -> None:
    """Refuse to shut down a socket that is not connected, which would wake its thread on Linux."""
    shutdown = socket.socket.shutdown

    def refuse(sock, how):
        sock.getpeername()  # raises ENOTCONN
        shutdown(sock, how)

    socket.socket.shutdown = refuse


def _forbid_paths_of_linux() -> None:
    def audit(event, arguments):
        if event == "open" and str(arguments[0]) != os.devnull:
            assert not str(arguments[0]).startswith(("/proc/", "/sys/", "/dev/")), arguments[0]

    sys.addaudithook(audit)


def _redirect(descriptor: int, path: Path | str, flags: int) -> None:
    opened = os.open(path, flags)
    os.dup2(opened, descriptor)
    os.close(opened)


def _run(platform: str, code: str, folder: str, seconds: int) -> None:
    signal.alarm(seconds)  # a hang ends with a status
    os.chdir(folder)
    written = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    _redirect(0, os.devnull, os.O_RDONLY)
    _redirect(1, Path(folder).parent / "stdout", written)
    _redirect(2, Path(folder).parent / "stderr", written)
    become(platform)
    warnings.simplefilter("error")
    exec(compile(code, "the code", "exec"), {"__name__": "__main__"})


def _main() -> None:
    for name in _BEFORE.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return _run(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


if __name__ == "__main__":
    _main()
