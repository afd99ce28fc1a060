"""Programs that the tests, `tests/with-postgres` and `tests/cluster` start. Standard library only."""
import os
import shutil
import socket
import sys
import time


def bound(command, signal='TERM', *options):
    """A command that gets the signal when the thread that started it ends, however it ends: start it in the main thread.

    `options` are those of setpriv. Programs that change their user lose the signal.
    """
    return ['setpriv', '--pdeathsig', signal, *options, '--', *map(str, command)]


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def find_program(name, folders=()):
    """The path of an installed program. Services lie outside of the PATH of ordinary users."""
    found = shutil.which(name, path=os.pathsep.join([*folders, os.environ.get('PATH', ''), '/usr/sbin']))
    if not found:
        sys.exit('%s is not installed; `make test-tools` installs what tests need' % name)
    return found


def read_log(path):
    """What a program has said, so far."""
    return path.read_text(errors='replace') if path.exists() else ''


def wait_for_port(port, process, seconds, log):
    """Waits until `process` listens on loopback. `log`: its file, for the error."""
    end = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection(('127.0.0.1', port), 1).close()
        except OSError:
            pass
        status = process.poll()
        if status is not None or time.monotonic() > end:
            what = 'ended with status %s' % status if status is not None else 'does not listen after %d s' % seconds
            raise RuntimeError('%s %s:\n%s' % (process.args[0], what, read_log(log)[-3000:]))
        time.sleep(0.02)
