"""The faults of the mixed chaos, and who injects them.

A fault has a name and two moments: `begin` injects it and returns for how many seconds it lasts, `end` mends it. Faults of different kinds overlap.
"""
import contextlib
import os
import time
from collections import Counter
from pathlib import Path

import requests
from wire import TO_CLIENT, TO_SERVER

LEASE_SECONDS = 12
PATIENCE_SECONDS = 60
# A process that cannot start without its database or its storage ends with this status, and is started again.
GAVE_UP = 255
KILLED = -9


class World:
    """What is broken: three processes, their database and its wire, their storage area, a clock, a disk.

    The first process is an ordinary one, the second reaches the database through the wire, the third has a clock that can be moved.
    """

    def __init__(self, cluster, postgres, database, wire, disk, storage, clock):
        self.nodes, self.gateway = cluster.nodes, cluster.gateway
        self.postgres, self.database, self.wire = postgres, database, wire
        self.disk, self.storage, self.clock = disk, storage, clock
        self.frozen = set()
        # When each process was killed, stopped or cut off by a fault: (name, seconds since 1970).
        self.hits = []
        self.starts = {}
        self.ends = Counter()
        self.poison = None

    def tend(self, dice):
        """Starts again, after a while, what has ended. Whether all run."""
        for node in self.nodes:
            if node.process.poll() is None:
                continue
            if node not in self.starts:
                self.ends[node.process.returncode] += 1
                self.frozen.discard(node)
                self.starts[node] = time.monotonic() + dice.uniform(0, 3)
            elif time.monotonic() >= self.starts[node]:
                del self.starts[node]
                node.spawn()
        return not self.starts

    def healthy(self, dice):
        """A process that runs and is not frozen, or None."""
        left = [n for n in self.nodes if n.process.poll() is None and n not in self.frozen]
        return dice.choice(left) if left else None

    def hit(self, node):
        self.hits.append((node.config['Name'], time.time()))

    def owner(self, port):
        """The process that has the local end of a connection at `port`, or None."""
        with open('/proc/net/tcp') as table:
            found = [line.split()[9] for line in table if line.split()[1].endswith(':%04X' % port)]
        sockets = {'socket:[%s]' % inode for inode in found}
        for node in self.nodes:
            with contextlib.suppress(OSError):
                for link in Path('/proc/%d/fd' % node.process.pid).iterdir():
                    with contextlib.suppress(OSError):
                        if os.readlink(link) in sockets:
                            return node
        return None


class Fault:
    name = ''
    # Faults that would make this one something else: it waits for their end.
    apart = ()

    def __init__(self, world):
        self.world = world

    def possible(self):
        """Whether this machine and user can inject it."""
        return True

    def begin(self, dice):
        """Injects it. Returns how long it lasts, None if it cannot be injected at the moment."""
        raise NotImplementedError

    def end(self):
        pass


class Kill(Fault):
    name = 'kill -9 of a process'

    def begin(self, dice):
        if node := self.world.healthy(dice):
            node.process.kill()
            node.process.wait()
            self.world.hit(node)
            return 0
        return None


class Freeze(Fault):
    """SIGSTOP. The process may be killed meanwhile, and started again."""

    def __init__(self, world, name, shortest, longest):
        super().__init__(world)
        self.name, self.shortest, self.longest = name, shortest, longest

    def begin(self, dice):
        self.node = self.world.healthy(dice)
        if not self.node:
            return None
        self.world.frozen.add(self.node)
        self.world.hit(self.node)
        self.node.freeze()
        return dice.uniform(self.shortest, self.longest)

    def end(self):
        self.world.frozen.discard(self.node)
        self.node.thaw()


class Restart(Fault):
    """The database stops and starts again at once, or a little later."""
    name = 'PostgreSQL restarted'
    apart = ('database full',)

    def begin(self, dice):
        dice.choice([self.world.postgres.stop, self.world.postgres.kill])()
        return dice.choice([0, dice.uniform(1, 5)])

    def end(self):
        self.world.postgres.start()


class Deafen(Fault):
    name = 'listening connections ended'
    apart = ('PostgreSQL restarted',)

    def begin(self, dice):
        # Not through the database itself: nobody can connect to it while it is full.
        ended = self.world.postgres.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = '%s' AND query ~* '^listen|pg_notify'" % self.world.database.name)
        return 0 if int(ended) else None


class Cut(Fault):
    """One direction of the second process's way to the database; afterwards half of the time its connections are forgotten."""
    apart = ('PostgreSQL restarted',)

    def __init__(self, world, name, direction):
        super().__init__(world)
        self.name, self.direction = name, direction

    def begin(self, dice):
        before = self.world.wire.held
        self.world.hit(self.world.nodes[1])
        self.world.wire.cut(self.direction)
        end = time.monotonic() + 5
        while self.world.wire.held == before:
            if time.monotonic() > end:
                self.world.wire.mend()
                return None
            time.sleep(0.02)
        self.forget = dice.random() < 0.5
        return dice.choice([dice.uniform(2, 6), dice.uniform(13, 18)])

    def end(self):
        if self.forget:
            self.world.wire.reset()
        self.world.wire.mend()


class StorageAway(Fault):
    """A file where the storage folder was: nothing can be read or written. Works for every user."""
    name = 'storage area unusable'

    def begin(self, dice):
        self.replace(self.world.storage.parent / 'no-folder')
        return dice.uniform(0.5, 3)

    def end(self):
        self.replace(self.world.storage.parent / 'blobs')

    def replace(self, target):
        new = self.world.storage.with_name('new')
        new.symlink_to(target)
        new.replace(self.world.storage)


class Poison(Fault):
    """A job that ends the process that runs it, until the registry gives it up."""
    name = 'poison job'

    def begin(self, dice):
        self.world.poison.make()
        return 0


class MoveClock(Fault):
    """The wall clock of the third process jumps an hour ahead or back, and later returns."""
    name = 'clock moved by an hour'

    def begin(self, dice):
        node = self.world.nodes[2]
        if node.process.poll() is not None or node in self.world.frozen:
            return None
        seconds = dice.choice([-3600, 3600])
        self.world.clock.write_text('%+d' % seconds)
        end = time.monotonic() + 5
        while not self.is_moved(node, seconds):
            if time.monotonic() > end:
                self.end()
                return None
            time.sleep(0.2)
        return dice.uniform(5, 25)

    def is_moved(self, node, seconds):
        with contextlib.suppress(requests.RequestException):
            told = time.strptime(requests.get(node.url + '/tools/now', timeout=1).text, '%Y%m%dT%H%M%S')
            return abs(time.mktime(told) - time.mktime(time.gmtime()) - seconds) < 60
        return False

    def end(self):
        self.world.clock.write_text('+0')


class DatabaseFull(Fault):
    name = 'database full'
    apart = ('PostgreSQL restarted',)

    def possible(self):
        return self.world.disk is not None

    def begin(self, dice):
        self.world.disk.fill()
        return dice.uniform(3, 10)

    def end(self):
        self.world.disk.make_room()


class Faults:
    """Injects all kinds again and again, in an order and for times that the seed decides. `counts`: how many of each, None: not possible."""

    def __init__(self, world, dice):
        self.world, self.dice = world, dice
        kinds = [Kill(world),
                 Freeze(world, 'SIGSTOP shorter than the lease', 1, LEASE_SECONDS / 2),
                 Freeze(world, 'SIGSTOP longer than the lease', LEASE_SECONDS + 2, LEASE_SECONDS + 8),
                 Restart(world),
                 Deafen(world),
                 Cut(world, 'bytes to the database held', TO_SERVER),
                 Cut(world, 'bytes from the database held', TO_CLIENT),
                 StorageAway(world),
                 Poison(world),
                 MoveClock(world),
                 DatabaseFull(world)]
        self.kinds = [kind for kind in kinds if kind.possible()]
        self.counts = {kind.name: 0 if kind in self.kinds else None for kind in kinds}
        self.deck, self.active = [], {}

    def inject(self, seconds):
        """Injects faults for so long, on a slow machine until there was one of each kind, and mends them all."""
        pause = min(3, seconds / len(self.kinds) * 0.8)
        end, following = time.monotonic() + seconds, time.monotonic() + pause
        while (now := time.monotonic()) < end or 0 in self.counts.values() and now < end + PATIENCE_SECONDS:
            self.world.tend(self.dice)
            self.mend(time.monotonic())
            if time.monotonic() >= following:
                self.begin_one()
                following = time.monotonic() + self.dice.uniform(0.3, 1.7) * pause
            time.sleep(0.05)
        self.mend(float('inf'))

    def begin_one(self):
        """The next of the deck that can be injected now; the others stay on it."""
        if not self.deck:
            self.deck = self.dice.sample(self.kinds, len(self.kinds))
        for kind in self.deck:
            if kind in self.active or any(kind.name in other.apart or other.name in kind.apart for other in self.active):
                continue
            lasts = kind.begin(self.dice)
            if lasts is not None:
                self.deck.remove(kind)
                self.counts[kind.name] += 1
                self.active[kind] = time.monotonic() + lasts
                return

    def mend(self, now):
        for kind, until in list(self.active.items()):
            if until <= now:
                del self.active[kind]
                kind.end()
