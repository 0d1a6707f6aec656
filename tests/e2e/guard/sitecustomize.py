"""Ends a Python process that opens a socket, starts another program, or writes outside the folders it was given.

Python imports this before anything else when its folder is on PYTHONPATH, in every child process too. What native
code does is not seen here: tests/e2e/test_no_byte_out.py has the kernel watch that.
"""

# ruff: noqa: PTH109, PTH115, PTH118
# (pathlib is not imported before the hook stands)

import os
import sys

STATUS = 99
FOLDERS = tuple(os.path.realpath(folder) for folder in os.environ["EDGE_TEST_MAY_WRITE"].split(os.pathsep))
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Event -> places of the paths that it changes among its arguments, each with that of its dir_fd.
CHANGES = {
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "sqlite3.connect": ((0, None),),
}
PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn", "webbrowser.open")


def _stop(event, what):
    os.write(2, f"guard: {event} {what!r}\n".encode("utf-8", "replace"))
    os._exit(STATUS)


def _allowed(path, folder=-1):
    if isinstance(path, int):
        return True  # opened before, so checked before
    base = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) and folder >= 0 else os.getcwd()
    real = os.path.realpath(os.path.join(base, os.fsdecode(path)))
    return real == os.devnull or any(real == folder or real.startswith(folder + os.sep) for folder in FOLDERS)


def _hook(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")) or event in PROGRAMS:
        _stop(event, arguments)
    elif event == "subprocess.Popen":
        if os.path.realpath(os.fsdecode(arguments[0])) != os.path.realpath(sys.executable):
            _stop(event, arguments[0])
    elif event == "open":
        path, mode, flags = arguments
        writes = (flags or 0) & WRITING or any(letter in (mode or "") for letter in "wax+")
        if writes and not _allowed(path):
            _stop(event, path)
    elif event in CHANGES:
        for path, folder in CHANGES[event]:
            if not _allowed(arguments[path], arguments[folder] if folder is not None else -1):
                _stop(event, arguments[path])


sys.addaudithook(_hook)
