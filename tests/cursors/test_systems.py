"""The stores on macOS and Windows, with stand-ins for the modules of these systems."""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
import types
from pathlib import Path, PureWindowsPath

import pytest

import sse_client
from sse_client import CursorError

fcntl = pytest.importorskip("fcntl", reason="the stand-ins are based on it")

CURSORS = Path(sse_client.__file__).parent / "cursors"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "position"


@pytest.fixture
def load_on(monkeypatch):
    """Load the modules of the stores as on another system, and return them by name."""

    def load(platform):
        monkeypatch.setattr(sys, "platform", platform)
        loaded = types.SimpleNamespace()
        for name in ("file_system", "lock", "file", "sqlite"):
            full = f"sse_client.cursors.{name}"
            spec = importlib.util.spec_from_file_location(full, CURSORS / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, full, module)
            spec.loader.exec_module(module)
            setattr(loaded, name, module)
        return loaded

    return load


class TestMacOS:
    """On macOS, ``fsync`` leaves data in the memory of the drive."""

    FULL_SYNC = 51

    @pytest.fixture
    def calls(self, monkeypatch):
        """The calls that make something durable, in order."""
        calls = []
        fsync = os.fsync
        monkeypatch.setattr(os, "fsync", lambda number: (calls.append("fsync"), fsync(number)))
        monkeypatch.setattr(fcntl, "F_FULLFSYNC", self.FULL_SYNC, raising=False)
        return calls

    def refuse_full_sync(self, monkeypatch, calls, number=None):
        def control(descriptor, command):
            assert command == self.FULL_SYNC
            os.fstat(descriptor)  # it is open
            calls.append("full")
            if number is not None:
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "fcntl", control)

    def test_the_drive_has_a_file_and_its_name_once_it_is_saved(
        self, load_on, monkeypatch, calls, path
    ):
        self.refuse_full_sync(monkeypatch, calls)
        with load_on("darwin").file.FileCursor(path) as cursor:
            cursor.save("1")
            assert calls == ["full", "full"]
            assert cursor.load() == "1"

    @pytest.mark.parametrize("name", ["EINVAL", "ENOTSUP", "ENOTTY", "EOPNOTSUPP"])
    def test_a_file_system_that_cannot_reach_the_drive_does_what_it_can(
        self, load_on, monkeypatch, calls, path, name
    ):
        self.refuse_full_sync(monkeypatch, calls, getattr(errno, name))
        with load_on("darwin").file.FileCursor(path) as cursor:
            cursor.save("1")
            assert calls == ["full", "fsync"] * 2
            assert cursor.load() == "1"

    def test_a_drive_that_fails_is_an_error(self, load_on, monkeypatch, calls, path):
        self.refuse_full_sync(monkeypatch, calls, errno.EIO)
        with (
            load_on("darwin").file.FileCursor(path) as cursor,
            pytest.raises(CursorError, match="cannot save the position: Input/output error"),
        ):
            cursor.save("1")
        assert calls == ["full"]
        assert list(path.parent.iterdir()) == []

    def test_sqlite_does_the_same(self, path):
        cursor = sse_client.SQLiteCursor(path, "stream")
        path.touch()
        with cursor._connection(path) as connection:
            assert connection.execute("PRAGMA fullfsync").fetchone() == (1,)


class TestWindows:
    """On Windows, no open file can be removed, and no folder can be opened."""

    @pytest.fixture
    def windows(self, load_on, monkeypatch):
        def locking(descriptor, mode, count):
            assert (os.lseek(descriptor, 0, os.SEEK_CUR), count) == (1024, 1)
            fcntl.flock(descriptor, mode)

        stand_in = types.SimpleNamespace(
            LK_NBLCK=fcntl.LOCK_EX | fcntl.LOCK_NB, LK_UNLCK=fcntl.LOCK_UN, locking=locking
        )
        monkeypatch.setitem(sys.modules, "msvcrt", stand_in)
        loaded = load_on("win32")
        opened = loaded.opened = []
        open_no_link = loaded.lock._open_no_link

        def remember(*args):
            opened.append(open_no_link(*args))
            return opened[-1]

        def is_open(path):
            for descriptor in opened:
                try:
                    if os.path.samestat(os.fstat(descriptor), path.stat()):
                        return True
                except OSError:  # closed, or missing
                    continue
            return False

        unlink = Path.unlink

        def refuse(path, missing_ok=False):
            if is_open(path):
                raise PermissionError(errno.EACCES, "The file is in use", str(path))
            unlink(path, missing_ok)

        monkeypatch.setattr(loaded.lock, "_open_no_link", remember)
        monkeypatch.setattr(Path, "unlink", refuse)
        return loaded

    @pytest.fixture(params=["file", "sqlite"])
    def new_cursor(self, windows, request):
        if request.param == "file":
            return windows.file.FileCursor
        return lambda path: windows.sqlite.SQLiteCursor(path, "stream")

    def test_save_and_load_under_a_lock(self, new_cursor, path):
        with new_cursor(path) as cursor:
            cursor.save("1")
            with pytest.raises(CursorError, match="is in use by another cursor of this process"):
                new_cursor(path).load()
            cursor.save("2")
        with new_cursor(path) as cursor:
            assert cursor.load() == "2"

    def test_leave_one_file_behind(self, new_cursor, path):
        with new_cursor(path) as cursor:
            cursor.save("1")
        assert list(path.parent.iterdir()) == [path]

    def test_leave_the_file_of_a_lock_that_somebody_else_has_opened(
        self, windows, new_cursor, path
    ):
        with new_cursor(path) as cursor:
            cursor.save("1")
            windows.opened.append(os.dup(cursor._lock._file.fileno()))
        (left,) = (file for file in path.parent.iterdir() if file != path)
        os.close(windows.opened[-1])
        with new_cursor(path) as cursor:
            assert cursor.load() == "1"
        assert not left.exists()

    @pytest.mark.parametrize(
        ("name", "uri"),
        [
            (r"C:\data\a b.db", "file:///C:/data/a%20b.db"),
            (r"\\server\share\a b.db", "file:////server/share/a%20b.db"),
        ],
    )
    def test_sqlite_finds_a_file_of_a_drive_or_a_share(self, windows, name, uri):
        assert windows.sqlite._uri_of(PureWindowsPath(name)) == uri
