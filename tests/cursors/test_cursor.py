"""The stores of a position: a saved ID is loaded again or is an error, and is never lost."""

from __future__ import annotations

import builtins
import errno
import json
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support import PATIENCE
from systems import needs_posix

import sse_client
from sse_client import CursorError, CursorStore, FileCursor, SQLiteCursor
from sse_client import process as life
from sse_client.cursors import lock as filelock

if sys.platform == "darwin":
    import fcntl

    #: The calls that make a file durable.
    SYNC = fcntl, "fcntl"
else:
    SYNC = os, "fsync"

PACKAGE = Path(sse_client.__file__).parent

SEED = 20_240_607

IDS = [
    "1",
    "",
    "a b",
    "é中文\U0001f600",
    "\u2028\u2029\x85",
    '"\\{}',
    "'; DROP",
    "\x7f\t",
    "x" * 100_000,
]

# The package's __init__ imports everything, so an empty package replaces it, for a fast start.
CHILD = """
import sys, types

package = types.ModuleType("sse_client")
package.__path__ = [sys.argv[1]]
sys.modules["sse_client"] = package

def open_cursor(kind, path):
    if kind == "file":
        from sse_client.cursors.file import FileCursor
        return FileCursor(path)
    from sse_client.cursors.sqlite import SQLiteCursor
    return SQLiteCursor(path, "stream")

cursor = open_cursor(sys.argv[2], sys.argv[3])
"""

HOLD = """
try:
    print(cursor.load(), flush=True)
    sys.stdin.read()
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""

SAVE = """
number = int(cursor.load() or 0)
print("loaded", number, flush=True)
while True:
    number += 1
    cursor.save(str(number))
    print("saved", number, flush=True)
"""


def new_cursor(kind, path, name="stream"):
    return FileCursor(path) if kind == "file" else SQLiteCursor(path, name)


def lock_of(kind, path):
    """The lock file, named as in the documentation."""
    (found,) = path.parent.glob(f"{path.name}.lock" if kind == "file" else f"{path.name}.*.lock")
    return found


@pytest.fixture
def child():
    """Starts processes that run a script with a cursor, and ends them."""
    processes = []

    def start(kind, path, script):
        command = [sys.executable, "-I", "-S", "-c", CHILD + script, str(PACKAGE), kind, str(path)]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        return processes[-1]

    yield start
    for process in processes:
        end(process)


def end(process, *, kill=True):
    """End a process, and return its output until then."""
    if process.stdout.closed:
        return ""
    if kill:
        process.kill()
    process.stdin.close()
    rest = process.stdout.read()
    process.stdout.close()
    process.wait(PATIENCE)
    return rest


def document(event_id="7", version=1):
    return json.dumps({"version": version, "last_event_id": event_id}).encode()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "position"


@pytest.fixture(params=["file", "sqlite"])
def kind(request):
    return request.param


class TestEach:
    def test_is_a_cursor_store(self, kind, path):
        assert isinstance(new_cursor(kind, path), CursorStore)
        assert not isinstance(object(), CursorStore)

    def test_has_nothing_to_begin_with(self, kind, path):
        with new_cursor(kind, path) as cursor:
            assert cursor.load() is None
            assert cursor.load() is None

    @pytest.mark.parametrize("event_id", IDS, ids=lambda value: ascii(value)[:20])
    def test_gives_back_what_was_saved(self, kind, path, event_id):
        with new_cursor(kind, path) as cursor:
            cursor.load()
            cursor.save("0")
            cursor.save(event_id)
            assert cursor.load() == event_id
        with new_cursor(kind, path) as cursor:
            assert cursor.load() == event_id

    def test_can_save_without_loading(self, kind, path):
        with new_cursor(kind, path) as cursor:
            cursor.save("1")
        with new_cursor(kind, path) as cursor:
            cursor.save("2")
            assert cursor.load() == "2"

    def test_can_be_used_again_after_it_was_closed(self, kind, path):
        cursor = new_cursor(kind, path)
        cursor.close()
        assert cursor.load() is None
        cursor.save("1")
        cursor.close()
        cursor.close()
        assert cursor.load() == "1"
        cursor.save("2")
        cursor.close()

    def test_costs_nothing_for_the_id_that_was_saved_last(self, kind, path, monkeypatch):
        with new_cursor(kind, path) as cursor:
            cursor.save("1")
        writes = []
        with new_cursor(kind, path) as cursor:
            monkeypatch.setattr(cursor, "_write", writes.append)
            cursor.load()
            cursor.save("1")
            assert writes == []
            cursor.save("2")
            cursor.save("2")
            assert writes == ["2"]

    @needs_posix
    def test_is_for_its_owner_alone_whatever_the_umask(self, kind, path):
        before = os.umask(0)
        try:
            with new_cursor(kind, path) as cursor:
                cursor.save("1")
                for file in path.parent.iterdir():
                    assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        finally:
            os.umask(before)

    @needs_posix
    def test_keeps_the_mode_of_a_file_that_is_there(self, kind, path):
        with new_cursor(kind, path) as cursor:
            cursor.save("1")
            path.chmod(0o640)
            cursor.save("2")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def test_leaves_one_file_behind(self, kind, path):
        with new_cursor(kind, path) as cursor:
            cursor.save("1")
            assert sorted(path.parent.iterdir()) == sorted([path, lock_of(kind, path)])
        assert list(path.parent.iterdir()) == [path]

    def test_follows_a_link_and_leaves_it_one(self, kind, path):
        folder = path.parent / "elsewhere"
        folder.mkdir()
        target = folder / "target"
        path.symlink_to(target)
        for event_id in ("1", "2"):
            with new_cursor(kind, path) as cursor:
                cursor.save(event_id)
        assert path.is_symlink()
        assert list(folder.iterdir()) == [target]
        with new_cursor(kind, target) as cursor:
            assert cursor.load() == "2"
            with pytest.raises(CursorError, match="in use"):
                new_cursor(kind, path).load()

    def test_stays_where_it_was_when_the_folder_changes(self, kind, path, monkeypatch):
        monkeypatch.chdir(path.parent)
        cursor = new_cursor(kind, path.name)
        (path.parent / "other").mkdir()
        monkeypatch.chdir(path.parent / "other")
        with cursor:
            cursor.save("1")
        assert path.exists()

    def test_may_have_any_name(self, kind, tmp_path):
        path = tmp_path / "what? #1 100%.é"
        with new_cursor(kind, path) as cursor:
            cursor.save("1")
        with new_cursor(kind, str(path)) as cursor:
            assert cursor.load() == "1"
        assert [file.name for file in tmp_path.iterdir()] == [path.name]

    def test_names_its_file(self, kind, path):
        assert str(path) in repr(new_cursor(kind, path))

    def test_may_be_used_by_one_thread_after_another(self, kind, path):
        with new_cursor(kind, path) as cursor:
            cursor.load()
            thread = threading.Thread(target=cursor.save, args=("1",))
            thread.start()
            thread.join(PATIENCE)
            assert cursor.load() == "1"

    @pytest.mark.parametrize("wrong", [None, 7, b"position", ["position"]])
    def test_refuses_a_path_of_the_wrong_kind_by_name(self, kind, wrong):
        with pytest.raises(TypeError, match=r"^path must be a str or a path, not "):
            new_cursor(kind, wrong)

    @pytest.mark.parametrize("wrong", ["", "a\0b"])
    def test_refuses_what_is_no_path_by_name(self, kind, wrong):
        with pytest.raises(ValueError, match=r"^path must be"):
            new_cursor(kind, wrong)

    @pytest.mark.parametrize("wrong", [None, 7, b"7"])
    def test_refuses_an_id_of_the_wrong_kind(self, kind, path, wrong):
        with new_cursor(kind, path) as cursor:
            with pytest.raises(TypeError, match=r"^event_id must be a str, not "):
                cursor.save(wrong)
            assert cursor.load() is None


class TestErrorsOfTheSystem:
    def test_in_a_folder_that_is_missing(self, kind, path):
        with pytest.raises(CursorError, match="cannot load the position: No such file") as caught:
            new_cursor(kind, path / "position").load()
        assert isinstance(caught.value.__cause__, FileNotFoundError)
        assert caught.value.path == str(path / "position")
        with pytest.raises(CursorError, match="cannot load"):
            new_cursor(kind, path / "position").save("1")

    def test_on_a_folder_instead_of_a_file(self, kind, path):
        path.mkdir()
        with pytest.raises(CursorError, match=str(path)):
            new_cursor(kind, path).load()
        assert list(path.parent.iterdir()) == [path]

    def test_at_the_root_of_the_file_system(self, kind, monkeypatch):
        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(builtins, "open", refuse)
        with pytest.raises(CursorError, match="Permission denied"):
            new_cursor(kind, "/").load()

    def test_on_a_link_that_leads_to_itself(self, kind, path):
        path.symlink_to(path)
        with pytest.raises(CursorError) as caught:
            new_cursor(kind, path).load()
        assert isinstance(caught.value.__cause__, OSError | sqlite3.Error)

    def test_where_nothing_can_be_locked(self, kind, path, monkeypatch):
        def refuse(_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(filelock, "_lock", refuse)
        with pytest.raises(CursorError, match="cannot load the position: No locks available"):
            new_cursor(kind, path).load()

    def test_without_a_word_of_the_system_name_their_kind(self, kind, path, monkeypatch):
        def refuse(_):
            raise OSError

        monkeypatch.setattr(filelock, "_lock", refuse)
        with pytest.raises(CursorError, match="cannot load the position: OSError"):
            new_cursor(kind, path).load()

    def test_while_the_pid_is_noted_do_no_harm(self, kind, path, monkeypatch):
        with new_cursor(kind, path) as cursor:
            process_id = FullDisk(os.getpid())
            monkeypatch.setattr(os, "getpid", lambda: process_id)
            assert cursor.load() is None
            monkeypatch.undo()
            assert lock_of(kind, path).read_bytes() == b""
            with pytest.raises(CursorError, match="is in use by another process"):
                new_cursor(kind, path).load()


class FullDisk(int):
    """A process ID that can't be written."""

    def __format__(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")


class TestFileSteps:
    """A save that fails at any step leaves the old position, and nothing else."""

    @pytest.fixture
    def cursor(self, path):
        with FileCursor(path) as cursor:
            cursor.save("1")
            yield cursor

    def fail(self, monkeypatch, where, name, after=0):
        calls = []

        def refuse(*arguments, **options):
            calls.append(arguments)
            if len(calls) > after:
                raise OSError(errno.ENOSPC, "No space left on device")
            return before(*arguments, **options)

        before = getattr(where, name)
        monkeypatch.setattr(where, name, refuse)

    @pytest.mark.parametrize(
        ("where", "name"),
        [(os, "open"), SYNC, (Path, "chmod"), (Path, "replace"), (json, "dumps")],
        ids=lambda value: value if isinstance(value, str) else value.__name__,
    )
    def test_before_the_end(self, cursor, path, monkeypatch, where, name):
        self.fail(monkeypatch, where, name)
        with pytest.raises(CursorError, match="cannot save the position: No space left") as caught:
            cursor.save("2")
        assert caught.value.path == str(path)
        assert isinstance(caught.value.__cause__, OSError)
        monkeypatch.undo()
        assert {file.name for file in path.parent.iterdir()} == {"position", "position.lock"}
        assert cursor.load() == "1"
        cursor.save("2")
        assert cursor.load() == "2"

    def test_where_even_what_is_left_cannot_be_removed(self, cursor, path, monkeypatch):
        self.fail(monkeypatch, *SYNC)
        self.fail(monkeypatch, Path, "unlink", after=1)
        with pytest.raises(CursorError, match="No space left"):
            cursor.save("2")
        monkeypatch.undo()
        assert (path.parent / "position.tmp").exists()
        cursor.save("2")
        assert not (path.parent / "position.tmp").exists()
        assert cursor.load() == "2"

    @needs_posix
    def test_at_the_folder_is_told_and_saves_again(self, cursor, monkeypatch):
        self.fail(monkeypatch, *SYNC, after=1)
        with pytest.raises(CursorError, match="No space left"):
            cursor.save("2")
        monkeypatch.undo()
        synced = []
        before = getattr(*SYNC)
        monkeypatch.setattr(*SYNC, lambda *args: (synced.append(args), before(*args)))
        cursor.save("2")
        assert len(synced) == 2  # the file and its folder
        assert cursor.load() == "2"

    @needs_posix
    def test_after_the_file_was_replaced_does_not_let_the_old_id_count_as_saved(
        self, cursor, path, monkeypatch
    ):
        assert cursor.load() == "1"
        self.fail(monkeypatch, *SYNC, after=1)
        with pytest.raises(CursorError, match="No space left"):
            cursor.save("2")
        monkeypatch.undo()
        assert json.loads(path.read_bytes())["last_event_id"] == "2"
        cursor.save("1")
        assert json.loads(path.read_bytes())["last_event_id"] == "1"

    def test_at_a_folder_that_cannot_be_made_durable_is_none(self, cursor, monkeypatch):
        before = os.fsync

        def fsync(descriptor, *_):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "Invalid argument")
            before(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(*SYNC, fsync)
        cursor.save("2")
        assert cursor.load() == "2"

    @needs_posix
    def test_makes_the_content_durable_before_it_takes_its_place(self, cursor, monkeypatch):
        steps = []
        sync, replace = getattr(*SYNC), Path.replace
        monkeypatch.setattr(*SYNC, lambda *args: (steps.append("sync"), sync(*args)))
        monkeypatch.setattr(
            Path, "replace", lambda *names: (steps.append("replace"), replace(*names))
        )
        cursor.save("2")
        assert steps == ["sync", "replace", "sync"]

    def test_takes_away_what_a_killed_process_has_left(self, path):
        target = path.parent / "precious"
        target.write_bytes(b"precious")
        (path.parent / "position.tmp").symlink_to(target)
        with FileCursor(path) as cursor:
            cursor.save("1")
        assert target.read_bytes() == b"precious"
        assert sorted(path.parent.iterdir()) == [path, target]

    def test_makes_a_file_anew_that_was_removed(self, cursor, path):
        path.unlink()
        cursor.save("2")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert cursor.load() == "2"


DAMAGED = {
    "empty": (b"", "not JSON"),
    "cut off": (document()[:-3], "not JSON"),
    "zeros": (bytes(50), "not JSON"),
    "not UTF-8": (document().replace(b"7", b"\xff"), "not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + document(), "not JSON"),
    "UTF-16": (document().decode().encode("utf-16"), "not JSON"),
    "two": (document() * 2, "not JSON"),
    "nested": (b"[" * 100_000, "not JSON"),
    "a huge number": (b"9" * 10_000, "not JSON|no position"),
    "null": (b"null", "no position"),
    "a number": (b"7", "no position"),
    "a text": (b'"7"', "no position"),
    "a list": (b"[]", "no position"),
    "no fields": (b"{}", "no position"),
    "no version": (b'{"last_event_id": "7"}', "no position"),
    "a version that is text": (document(version="1"), "no position"),
    "a version that is true": (document(version=True), "unknown version"),
    "another version": (document(version=2), "unknown version, 2"),
    "no ID": (b'{"version": 1}', "no last event ID"),
    "an ID that is null": (document(None), "no last event ID"),
    "an ID that is a number": (document(7), "no last event ID"),
    "an ID that is a list": (document(["7"]), "no last event ID"),
}


class TestDamagedFiles:
    @pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED.keys())
    def test_are_an_error_and_stay_as_they_are(self, path, content, message):
        path.write_bytes(content)
        cursor = FileCursor(path)
        for attempt in (cursor.load, lambda: cursor.save("1"), cursor.load):
            with pytest.raises(CursorError, match=message) as caught:
                attempt()
            assert str(caught.value).startswith(f"{path}: is ")
            assert caught.value.path == str(path)
        assert path.read_bytes() == content
        # After a failed load no lock is held.
        assert list(path.parent.iterdir()) == [path]

    def test_are_not_those_that_say_more_than_they_need(self, path):
        path.write_bytes(b'\n {"more": [1], "last_event_id": "\\u00e9", "version": 1} \n')
        with FileCursor(path) as cursor:
            assert cursor.load() == "é"

    @needs_posix
    def test_that_are_pipes_do_not_block(self, path):
        os.mkfifo(path)
        with pytest.raises(CursorError, match="is not a regular file"):
            FileCursor(path).load()

    def test_that_are_too_large_are_not_read(self, path, monkeypatch):
        monkeypatch.setattr("sse_client.cursors.file._MAX_FILE_SIZE", 100)
        path.write_bytes(document() + b" " * 100)
        with pytest.raises(CursorError, match="larger than 100 bytes"):
            FileCursor(path).load()

    def test_are_not_made_by_a_save(self, path, monkeypatch):
        monkeypatch.setattr("sse_client.cursors.file._MAX_FILE_SIZE", 100)
        with FileCursor(path) as cursor:
            cursor.save("1")
            with pytest.raises(CursorError, match="an ID that takes more than 100 bytes"):
                cursor.save("x" * 100)
            assert cursor.load() == "1"


class TestSQLite:
    def test_keeps_a_position_for_each_name(self, path):
        names = ["a", "A", "é", "a' OR '1", "x" * 1000, "a b/c"]
        cursors = [SQLiteCursor(path, name) for name in names]
        for number, cursor in enumerate(cursors):
            assert cursor.load() is None
            cursor.save(str(number))
        assert [cursor.load() for cursor in cursors] == [str(number) for number in range(6)]
        for cursor in cursors:
            cursor.close()
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("wrong", [None, 7, b"a"])
    def test_refuses_a_name_of_the_wrong_kind(self, path, wrong):
        with pytest.raises(TypeError, match=r"^name must be a str, not "):
            SQLiteCursor(path, wrong)

    def test_refuses_no_name(self, path):
        with pytest.raises(ValueError, match=r"^name must not be empty"):
            SQLiteCursor(path, "")

    def test_names_its_stream(self, path):
        assert repr(SQLiteCursor(path, "orders")).endswith("position 'orders'>")

    @pytest.mark.parametrize("mode", ["delete", "wal"])
    def test_joins_a_database_that_is_there(self, path, mode):
        with sqlite3.connect(path) as own:
            own.execute(f"PRAGMA journal_mode = {mode}")
            own.execute("CREATE TABLE mine (x)")
            own.execute("INSERT INTO mine VALUES (7)")
        with SQLiteCursor(path, "a") as cursor:
            assert cursor.load() is None
            cursor.save("1")
            assert cursor.load() == "1"
        assert own.execute("SELECT x FROM mine").fetchall() == [(7,)]
        assert own.execute("PRAGMA journal_mode").fetchone() == (mode,)
        own.close()

    @pytest.fixture(params=["hard links", "no hard links", "no way to ask for one"])
    def links(self, request, monkeypatch):
        """The hard links of the file system, as a list of calls, which the test may extend."""
        link = Path.hardlink_to
        before = []

        def hardlink_to(target, temporary):
            for call in before:
                call(target, temporary)
            if request.param == "no hard links":
                raise PermissionError(errno.EPERM, "Operation not permitted")
            if request.param == "no way to ask for one":
                raise NotImplementedError  # as pathlib does on such a platform
            link(target, temporary)

        monkeypatch.setattr(Path, "hardlink_to", hardlink_to)
        return before

    def test_is_made_whole(self, path, links):
        made = []

        def look(target, temporary):
            with sqlite3.connect(temporary) as complete:
                made.extend(complete.execute("SELECT name FROM sqlite_master"))
            complete.close()
            assert not target.exists()

        links.append(look)
        (path.parent / "position.tmp").write_bytes(b"left")
        with SQLiteCursor(path, "a") as cursor:
            assert cursor.load() is None
            cursor.save("1")
            assert cursor.load() == "1"
        assert ("sse_client_cursor",) in made
        assert list(path.parent.iterdir()) == [path]

    def test_is_made_once_by_streams_that_begin_at_the_same_time(self, path, links, monkeypatch):
        waiting = threading.Event()
        lock = filelock._lock

        def look(file):
            try:
                lock(file)
            except OSError:
                waiting.set()
                raise

        def save(name):
            with SQLiteCursor(path, name) as cursor:
                cursor.save(name)

        links.append(lambda *_: (other.start(), waiting.wait(PATIENCE)))
        monkeypatch.setattr(filelock, "_lock", look)
        other = threading.Thread(target=save, args=("b",))
        save("a")
        other.join(PATIENCE)
        assert waiting.is_set()
        for name in ("a", "b"):
            with SQLiteCursor(path, name) as cursor:
                assert cursor.load() == name
        assert list(path.parent.iterdir()) == [path]

    def test_that_another_program_makes_meanwhile_is_joined(self, path, monkeypatch):
        link = Path.hardlink_to

        def hardlink_to(target, temporary):
            with sqlite3.connect(target) as own:
                own.execute("CREATE TABLE mine (x)")
            own.close()
            link(target, temporary)

        monkeypatch.setattr(Path, "hardlink_to", hardlink_to)
        with SQLiteCursor(path, "a") as cursor:
            cursor.save("1")
            assert cursor.load() == "1"
        with sqlite3.connect(path) as own:
            assert own.execute("SELECT * FROM mine").fetchall() == []
        own.close()

    def test_that_cannot_be_put_in_its_place_is_an_error(self, path, links, monkeypatch):
        def refuse(*_):
            raise OSError(errno.EROFS, "Read-only file system")

        links.append(refuse)
        monkeypatch.setattr(Path, "rename", refuse)
        with pytest.raises(CursorError, match="cannot load the position: Read-only file system"):
            SQLiteCursor(path, "a").load()
        assert list(path.parent.iterdir()) == []

    def test_is_not_waited_for_without_end(self, path, monkeypatch):
        monkeypatch.setattr("sse_client.cursors.sqlite._BUSY_TIMEOUT", 0.01)
        with FileCursor(path) as holder:
            holder.load()
            with pytest.raises(CursorError, match="is in use by another cursor"):
                SQLiteCursor(path, "a").load()

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda content: b"", "it is empty"),
            (lambda content: b"no database, but longer than a header " * 200, "not a database"),
            (lambda content: content[:100], "damaged"),
            (lambda content: content[:4096] + bytes(len(content) - 4096), "malformed"),
            (lambda content: bytes(len(content)), "not a database"),
        ],
        ids=["empty", "text", "cut off", "zeros after it", "zeros"],
    )
    def test_that_is_damaged_is_an_error(self, path, damage, message):
        with SQLiteCursor(path, "a") as cursor:
            cursor.save("1")
        damaged = damage(path.read_bytes())
        path.write_bytes(damaged)
        for attempt in (cursor.load, lambda: cursor.save("2")):
            with pytest.raises(CursorError, match=message) as caught:
                attempt()
            assert caught.value.path == str(path)
        assert path.read_bytes() == damaged
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("value", [7, b"7"])
    def test_that_holds_no_text_is_an_error(self, path, value):
        with SQLiteCursor(path, "a") as cursor:
            cursor.save("1")
        with sqlite3.connect(path) as own:
            own.execute("DROP TABLE sse_client_cursor")
            own.execute("CREATE TABLE sse_client_cursor (name, last_event_id)")
            own.execute("INSERT INTO sse_client_cursor VALUES ('a', ?)", (value,))
        own.close()
        with pytest.raises(CursorError, match="no last event ID"):
            cursor.load()

    def test_that_was_removed_is_told(self, path):
        with SQLiteCursor(path, "a") as cursor:
            cursor.save("1")
            path.unlink()
            with pytest.raises(CursorError, match="unable to open") as caught:
                cursor.save("2")
            assert isinstance(caught.value.__cause__, sqlite3.Error)
            assert not path.exists()

    def test_waits_for_its_turn(self, path):
        with SQLiteCursor(path, "a") as cursor:
            cursor.load()
            other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            other.execute("BEGIN EXCLUSIVE")
            saving = threading.Thread(target=cursor.save, args=("1",))
            saving.start()
            other.execute("COMMIT")
            saving.join(PATIENCE)
            assert not saving.is_alive()
            other.close()
            assert cursor.load() == "1"

    def test_looks_for_its_turn_again_and_again(self, path, monkeypatch):
        connect, tries = sqlite3.connect, []

        def busy_at_first(address, *, timeout, **options):
            tries.append(timeout)
            if len(tries) < 5:
                raise sqlite3.OperationalError("database is locked")
            return connect(address, timeout=timeout, **options)

        with SQLiteCursor(path, "a") as cursor:
            cursor.save("1")
            monkeypatch.setattr(sqlite3, "connect", busy_at_first)
            cursor.save("2")
            assert cursor.load() == "2"
        # SQLite alone would finally look only ten times a second, while others save in between.
        assert max(tries) <= 0.1

    def test_does_not_wait_for_ever(self, path, monkeypatch):
        monkeypatch.setattr("sse_client.cursors.sqlite._BUSY_TIMEOUT", 0.01)
        with SQLiteCursor(path, "a") as cursor:
            cursor.save("1")
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(CursorError, match="locked"):
                cursor.save("2")
            other.close()
            assert cursor.load() == "1"

    def test_says_where_python_lacks_it(self, path, monkeypatch):
        monkeypatch.setitem(sys.modules, "sqlite3", None)
        with pytest.raises(CursorError, match="needs the module sqlite3") as caught:
            SQLiteCursor(path, "a").load()
        assert isinstance(caught.value.__cause__, ImportError)
        assert list(path.parent.iterdir()) == []

    def test_is_shared_by_processes_under_different_names(self, path, child):
        with SQLiteCursor(path, "other") as cursor:
            cursor.save("9")
            other = child("sqlite", path, SAVE)
            for number in range(50):
                cursor.save(f"9-{number}")
                assert other.stdout.readline()
            end(other)
            assert cursor.load() == "9-49"
        with SQLiteCursor(path, "stream") as cursor:
            assert int(cursor.load()) >= 49


class TestLock:
    def test_keeps_another_cursor_of_the_process_out(self, kind, path):
        with new_cursor(kind, path) as cursor:
            assert cursor.load() is None
            other = new_cursor(kind, path)
            for attempt in (other.load, lambda: other.save("2")):
                with pytest.raises(
                    CursorError, match=r"is in use by another cursor of this process$"
                ) as caught:
                    attempt()
                assert str(path) in str(caught.value)
                assert caught.value.path == str(path)
            other.close()
            cursor.save("1")
        with other:
            assert other.load() == "1"

    def test_keeps_another_process_out(self, kind, path, child):
        with new_cursor(kind, path) as cursor:
            cursor.save("1")
            other = child(kind, path, HOLD)
            said = end(other, kill=False)
            assert said == f"CursorError {path} is in use by process {os.getpid()}\n"
            cursor.save("2")

    def test_names_the_process_that_holds_it_and_ends_with_it(self, kind, path, child):
        other = child(kind, path, HOLD)
        assert other.stdout.readline() == "None\n"
        cursor = new_cursor(kind, path)
        with pytest.raises(CursorError, match=rf"is in use by process {other.pid}$"):
            cursor.load()
        end(other)
        with cursor:
            assert cursor.load() is None

    @pytest.mark.parametrize("content", [b"", b"nobody\n", b"\xff\xb2", b"1" * 1000])
    def test_names_nobody_it_does_not_know(self, kind, path, content):
        with new_cursor(kind, path) as cursor:
            cursor.load()
            lock_of(kind, path).write_bytes(content)
            with pytest.raises(CursorError, match="is in use by "):
                new_cursor(kind, path).load()

    def test_file_of_a_killed_process_is_no_lock(self, kind, path):
        with new_cursor(kind, path) as cursor:
            cursor.load()
            left = lock_of(kind, path)
        left.write_bytes(b"1\n")
        with new_cursor(kind, path) as cursor:
            assert cursor.load() is None
            assert left.read_text() == f"{os.getpid()}\n"
        assert not left.exists()

    @needs_posix
    def test_is_not_taken_on_a_file_that_was_removed_meanwhile(self, kind, path, monkeypatch):
        holder = new_cursor(kind, path)
        holder.load()
        lock = filelock._lock
        attempts = []

        def late(file):
            attempts.append(file)
            if len(attempts) == 1:
                holder.close()  # after the file was opened and before it is locked
            lock(file)

        monkeypatch.setattr(filelock, "_lock", late)
        with new_cursor(kind, path) as cursor:
            assert cursor.load() is None
            assert len(attempts) == 2
            with pytest.raises(CursorError, match="is in use"):
                holder.load()

    @needs_posix
    def test_leaves_the_file_of_another_alone(self, kind, path):
        """A user has removed a lock file by hand: neither holder takes the new file for its own."""
        first, second = new_cursor(kind, path), new_cursor(kind, path)
        first.load()
        lock_of(kind, path).unlink()
        second.load()
        first.close()
        with pytest.raises(CursorError, match="is in use"):
            first.load()
        second.close()

    def test_ends_though_its_file_stays_and_is_open_elsewhere(self, kind, path, monkeypatch):
        """As in a forked child that has not run yet, where the file cannot be removed."""

        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, "Permission denied")

        cursor = new_cursor(kind, path)
        cursor.load()
        lock_file = lock_of(kind, path)
        elsewhere = os.dup(cursor._lock._file.fileno())
        monkeypatch.setattr(Path, "unlink", refuse)
        cursor.close()
        monkeypatch.undo()
        assert lock_file.exists()
        with new_cursor(kind, path) as cursor:
            assert cursor.load() is None
        os.close(elsewhere)

    @pytest.fixture
    def lock_file(self, kind, path):
        """The path of the lock file, which does not exist."""
        with new_cursor(kind, path) as cursor:
            cursor.load()
            return lock_of(kind, path)

    def refused(self, kind, path):
        with pytest.raises(CursorError) as caught:
            new_cursor(kind, path).load()
        assert caught.value.path == str(path)
        return str(caught.value)

    @pytest.mark.parametrize("is_there", [True, False])
    def test_does_not_follow_a_symbolic_link(self, kind, path, lock_file, tmp_path, is_there):
        target = tmp_path / "precious"
        if is_there:
            target.write_bytes(b"precious")
        lock_file.symlink_to(target)
        said = self.refused(kind, path)
        assert said == f"{path} cannot be locked: {lock_file} is a symbolic link"
        assert lock_file.is_symlink()
        assert target.exists() is is_there
        assert not is_there or target.read_bytes() == b"precious"

    @pytest.mark.parametrize(
        "make",
        [
            pytest.param(Path.mkdir, id="folder"),
            # Not os.mkfifo itself, which Windows lacks.
            pytest.param(lambda path: os.mkfifo(path), id="pipe", marks=needs_posix),  # noqa: PLW0108
        ],
    )
    def test_takes_regular_files_only(self, kind, path, lock_file, make):
        make(lock_file)
        said = self.refused(kind, path)
        assert said == f"{path} cannot be locked: {lock_file} is not a regular file"
        assert lock_file.exists()

    @needs_posix
    def test_does_not_follow_a_link_that_is_put_there_meanwhile(
        self, kind, path, lock_file, tmp_path, monkeypatch
    ):
        target = tmp_path / "precious"
        target.write_bytes(b"precious")
        opened = filelock.open_private

        def late(path, flags):
            lock_file.symlink_to(target)
            return opened(path, flags)

        monkeypatch.setattr(filelock, "open_private", late)
        assert "cannot load the position" in self.refused(kind, path)
        assert target.read_bytes() == b"precious"

    @needs_posix
    def test_takes_no_pipe_that_is_put_there_meanwhile(self, kind, path, lock_file, monkeypatch):
        opened = filelock.open_private

        def late(path, flags):
            os.mkfifo(lock_file)
            return opened(path, flags)

        monkeypatch.setattr(filelock, "open_private", late)
        assert "is not a regular file" in self.refused(kind, path)

    @needs_posix
    def test_that_became_a_link_to_its_own_file_is_not_held(self, kind, path, lock_file, tmp_path):
        moved = tmp_path / "moved"
        with new_cursor(kind, path) as cursor:
            cursor.load()
            lock_file.rename(moved)
            lock_file.symlink_to(moved)
        assert lock_file.is_symlink()  # another process must remove it

    def test_that_nobody_holds_is_given_back_without_a_word(self, path):
        lock = filelock.FileLock(path, path)
        lock.release()
        lock.disown()
        assert not path.exists()

    def test_that_nobody_closed_is_given_back_with_a_warning(self, kind, path):
        cursor = new_cursor(kind, path)
        cursor.load()
        with pytest.warns(ResourceWarning, match="unclosed file"):
            del cursor
        with new_cursor(kind, path) as cursor:
            assert cursor.load() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
class TestFork:
    def in_child(self, function):
        """Run in a forked child, and return its output."""
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                said = str(function())
            except BaseException as error:
                said = f"{type(error).__name__} {error}"
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        os.waitpid(pid, 0)
        return said

    def test_leaves_the_lock_to_the_parent(self, kind, path):
        with new_cursor(kind, path) as cursor:
            cursor.save("1")
            expected = f"CursorError {path} belongs to process {os.getpid()}, from which"
            assert self.in_child(cursor.load).startswith(expected)
            assert self.in_child(lambda: cursor.save("2")).startswith(expected)
            assert self.in_child(lambda: cursor.save("1")).startswith(expected)
            assert cursor.load() == "1"

    def test_closing_in_the_child_gives_nothing_back(self, kind, path):
        with new_cursor(kind, path) as cursor:
            cursor.save("1")

            def close_and_load():
                cursor.close()
                cursor.close()
                return cursor.load()

            said = self.in_child(close_and_load)
            assert said == f"CursorError {path} is in use by process {os.getpid()}"
            assert lock_of(kind, path).exists()
            with pytest.raises(CursorError, match="is in use by another cursor of this process"):
                new_cursor(kind, path).load()
            cursor.save("2")

    def test_lets_the_child_open_its_own(self, kind, path):
        with new_cursor(kind, path) as cursor:
            cursor.save("1")
        assert self.in_child(lambda: new_cursor(kind, path).load()) == "1"

    def test_is_noticed_whoever_forked(self, kind, path, monkeypatch):
        """What the child sees, run in this process, because coverage does not follow a fork."""
        cursor = new_cursor(kind, path)
        cursor.save("1")
        owner = os.getpid()
        monkeypatch.setattr(life, "_process_id", owner)  # is restored at the end
        monkeypatch.setattr(os, "getpid", lambda: owner + 1)
        life.disown_if_forked()
        with pytest.raises(CursorError, match=f"belongs to process {owner}, from which"):
            cursor.save("2")
        with pytest.raises(CursorError, match=f"belongs to process {owner}, from which"):
            cursor.load()
        assert cursor._lock is not None
        cursor.close()
        life.disown_all()
        assert lock_of(kind, path).exists()

    def test_a_child_that_lives_longer_does_not_hold_the_lock(self, kind, path, child):
        script = """
import os
reading, writing = os.pipe()
cursor.save("1")
if os.fork():
    os.read(reading, 1)
    print("forked", flush=True)
    os.kill(os.getpid(), 9)
os.write(writing, b"x")  # it is running
sys.stdin.read()
os._exit(0)
"""
        parent = child(kind, path, script)
        assert parent.stdout.readline() == "forked\n"
        assert parent.wait(PATIENCE) == -signal.SIGKILL
        with new_cursor(kind, path) as cursor:
            assert cursor.load() == "1"
        assert end(parent) == ""  # until its end: the child has ended, too


class TestKill:
    @pytest.mark.parametrize(
        "kills", [pytest.param(4, id="short"), pytest.param(12, id="long", marks=pytest.mark.ci)]
    )
    def test_at_any_moment_loses_nothing_that_was_saved(self, kind, path, child, kills):
        """Seeded, but the system decides at which point of a save the signal arrives."""
        random_source = random.Random(SEED)
        clock = threading.Event()
        confirmed = 0
        for _ in range(kills):
            process = child(kind, path, SAVE)
            word, number = process.stdout.readline().split()
            assert word == "loaded"
            assert int(number) in {confirmed, confirmed + 1}
            confirmed = int(number)
            for _ in range(random_source.randrange(10)):
                confirmed = int(process.stdout.readline().split()[1])
            clock.wait(random_source.uniform(0.0, 0.003))
            # Everything that it reported before it was killed had been saved.
            for line in end(process).splitlines(keepends=True):
                if line.endswith("\n"):
                    confirmed = int(line.split()[1])
            with new_cursor(kind, path) as cursor:
                found = int(cursor.load() or 0)
            assert found in {confirmed, confirmed + 1}, f"seed {SEED}"
            confirmed = found
        assert confirmed > kills
