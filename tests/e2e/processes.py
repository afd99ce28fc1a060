"""Programs that the tests, `tests/with-postgres` and `tests/cluster` start. Standard library only."""
import os
import random
import shutil
import socket
import sys
import time

# Below the ports that Linux gives to outgoing connections: none of those takes a port between its choice and its use. Each worker of
# pytest-xdist has some of its own.
WORKER, WORKERS = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]), int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', 1))
PORTS = range(12000, 32000)[WORKER * 20000 // WORKERS:(WORKER + 1) * 20000 // WORKERS]
last_port = random.choice(PORTS)


def bound(command, signal='TERM', *options):
    """A command that gets the signal when the thread that started it ends, however it ends: start it in the main thread.

    `options` are those of setpriv. Programs that change their user lose the signal.
    """
    return ['setpriv', '--pdeathsig', signal, *options, '--', *map(str, command)]


def free_port():
    """A port that nobody listens on and that no earlier call returned, unless there were thousands."""
    global last_port
    for _ in PORTS:
        last_port = last_port + 1 if last_port + 1 in PORTS else PORTS.start
        with socket.socket() as s:
            try:
                s.bind(('0.0.0.0', last_port))
                return last_port
            except OSError:
                pass
    raise RuntimeError('no free port')


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
