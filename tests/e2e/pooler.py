"""PgBouncer between a server and its PostgreSQL. Standard library only."""
import subprocess

from postgres import USER, as_owner
from processes import find_program, free_port, wait_for_port


class Pooler:
    """Listens for one database. `mode`: when a connection of PostgreSQL is given to the next client."""

    def __init__(self, database, mode):
        self.database, self.mode, self.port = database, mode, free_port()
        self.folder = database.server.folder / ('pooler-%d' % self.port)
        self.process = None

    def start(self):
        self.folder.mkdir()
        users, settings = self.folder / 'users', self.folder / 'pgbouncer.ini'
        users.write_text('"%s" ""\n' % USER)
        settings.write_text('''
[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = %s
default_pool_size = 60
''' % (self.database.server.port, self.port, users, self.mode))
        with open(self.folder / 'log', 'ab') as log:
            self.process = subprocess.Popen(
                as_owner([find_program('pgbouncer'), settings]), cwd='/', start_new_session=True, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)
        wait_for_port(self.port, self.process, 10, self.folder / 'log')
        return self

    @property
    def options(self):
        """The section `PostgreSQL` of a process that uses it."""
        return {**self.database.options, 'Port': self.port}

    def end(self):
        self.process.kill()
        self.process.wait()
