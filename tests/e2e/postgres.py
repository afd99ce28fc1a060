"""A private PostgreSQL for tests: on loopback, in a folder of its own, gone with whoever started it. Standard library only."""
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from processes import bound, find_program, free_port, read_log

USER = 'pleiad'
START_SECONDS = 60
STOP_SECONDS = 30
# What a server that is thrown away need not pay for. A killed server still loses nothing: only a power cut would show.
FAST = {'fsync': 'off', 'full_page_writes': 'off'}


def program(name):
    """A program of the newest installed PostgreSQL. Debian keeps the server's out of the PATH."""
    def version(folder):
        return int(''.join(c for c in folder.split('/')[4] if c.isdigit()) or 0)
    return find_program(name, sorted(glob.glob('/usr/lib/postgresql/*/bin'), key=version, reverse=True))


def as_owner(command):
    """PostgreSQL does not run as root: root starts it as the user that the package made."""
    if os.getuid() != 0:
        return bound(command, 'INT')
    return bound(command, 'INT', '--reuid', 'postgres', '--regid', 'postgres', '--init-groups')


class Postgres:
    """A server that can be stopped, killed and started again on the same data and port.

    `folder` holds the data; by default a temporary one, removed by `end`. Started by root, the user `postgres` owns it, and
    must be able to reach it. `settings` go to the command line.
    """

    def __init__(self, folder=None, **settings):
        self.temporary = folder is None
        self.folder = Path(folder or tempfile.mkdtemp(prefix='pleiad-postgres-'))
        self.data = self.folder / 'data'
        self.port = free_port()
        self.settings = {'listen_addresses': '127.0.0.1', 'port': self.port, 'unix_socket_directories': '',
                         'max_connections': 300, **settings}
        self.process = None

    def start(self):
        """Starts it, in the main thread (see `bound`), and waits until it answers."""
        if not self.data.exists():
            self.initialise()
        options = [item for name, value in self.settings.items() for item in ('-c', '%s=%s' % (name, value))]
        with open(self.folder / 'log', 'ab') as log:
            self.process = subprocess.Popen(
                as_owner([program('postgres'), '-D', str(self.data), *options]), cwd='/', start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait_until_it_answers()
        return self

    def initialise(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(self.folder, 'postgres', 'postgres')
        done = subprocess.run(
            as_owner([program('initdb'), '-D', str(self.data), '-U', USER, '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '-N']),
            cwd='/', stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise RuntimeError('initdb failed in %s:\n%s' % (self.folder, done.stdout[-2000:]))

    def wait_until_it_answers(self):
        end = time.monotonic() + START_SECONDS
        while self.psql('SELECT 1', 'postgres').returncode != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError('PostgreSQL does not answer:\n' + read_log(self.folder / 'log')[-3000:])
            time.sleep(0.02)

    def stop(self):
        """A fast stop: running transactions are rolled back, clients are told."""
        self.signal(signal.SIGINT)

    def kill(self):
        """Ends it without a word, as a crash of all its processes."""
        self.signal(signal.SIGQUIT)

    def signal(self, number):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def end(self):
        """Leaves nothing behind of a temporary server."""
        self.kill() if self.temporary else self.stop()
        if self.temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def psql(self, statement, database):
        return subprocess.run(
            [program('psql'), '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-h', '127.0.0.1', '-p', str(self.port), '-U', USER,
             '-d', database, '-c', statement], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def sql(self, statement, database='postgres'):
        """Runs a statement and returns its rows as text."""
        done = self.psql(statement, database)
        if done.returncode:
            raise RuntimeError('%s:\n%s' % (statement, done.stdout))
        return done.stdout.strip()

    def url(self, database='postgres'):
        return 'postgresql://%s@127.0.0.1:%d/%s' % (USER, self.port, database)

    def options(self, database):
        """The section `PostgreSQL` of a process that uses it."""
        return {'EnableIndex': True, 'Host': '127.0.0.1', 'Port': self.port, 'Database': database, 'Username': USER, 'Password': ''}

    def create_database(self, name, folder=None):
        """`folder`: an empty one for all that the database holds."""
        if folder:
            if os.getuid() == 0:
                shutil.chown(folder, 'postgres', 'postgres')
            self.sql("CREATE TABLESPACE \"%s\" LOCATION '%s'" % (name, folder))
        self.sql('CREATE DATABASE "%s" TEMPLATE template0 %s' % (name, 'TABLESPACE "%s"' % name if folder else ''))
        return Database(self, name)


class Database:
    """One database, with the faults that tests want."""

    def __init__(self, server, name):
        self.server, self.name = server, name

    @property
    def options(self):
        return self.server.options(self.name)

    def sql(self, statement):
        return self.server.sql(statement, self.name)

    def terminate_connections(self):
        """Ends every connection of clients, as an administrator or a failing network would."""
        return int(self.server.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '%s' AND pid <> pg_backend_pid()" % self.name))

    def refuse_connections(self):
        """Lets nobody in, and throws out who is there."""
        self.server.sql('ALTER DATABASE "%s" ALLOW_CONNECTIONS false' % self.name)
        self.terminate_connections()

    def accept_connections(self):
        self.server.sql('ALTER DATABASE "%s" ALLOW_CONNECTIONS true' % self.name)

    def drop(self):
        self.server.sql('DROP DATABASE IF EXISTS "%s" WITH (FORCE)' % self.name)
        self.server.sql('DROP TABLESPACE IF EXISTS "%s"' % self.name)
