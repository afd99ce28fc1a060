"""Everything at once: three processes under load while all kinds of faults happen, in an order that a seed decides.

`CHAOS_SECONDS` and `CHAOS_SEED` say for how long, and which order: `make test` runs a short one. A run prints what it injected and moved, and fails
if there is a kind of fault that it did not inject although this machine can.
"""
import os
import random
from pathlib import Path

import pytest
from chaos_checks import (check_archives, check_blobs, check_changes, check_events, check_instances, check_jobs,
                          check_modalities, check_totals, settle)
from chaos_faults import GAVE_UP, KILLED, Faults, World
from chaos_load import Executioner, Load
from cluster import Cluster
from conftest import NUMBERS, client_of
from disk import SmallDisk
from faketime import fake_time
from jobs import wait_for
from wire import Wire

SECONDS = int(os.environ.get('CHAOS_SECONDS', '60'))
SEED = int(os.environ.get('CHAOS_SEED', '1'))
CONFIG = {'StableAge': 5, 'ConcurrentJobs': 4, 'JobsHistorySize': 1_000_000, 'MediaArchiveSize': 500,
          'LuaScripts': [str(Path(__file__).with_name('chaos.lua'))]}
DISK_MIB = 512


@pytest.fixture
def disk(postgres):
    """Holds the tables of the database. None where nothing can be mounted."""
    disk = SmallDisk(postgres.folder / ('chaos%d' % next(NUMBERS)), DISK_MIB)
    if not disk.mount():
        assert not (os.environ.get('CI') and os.getuid() == 0), 'root cannot mount a file system'
        yield None
        return
    yield disk
    disk.end()


@pytest.fixture
def database(postgres, disk):
    folder = disk and disk.folder / 'tables'
    if folder:
        folder.mkdir()
    database = postgres.create_database('chaos%d' % next(NUMBERS), folder)
    yield database
    if disk:
        disk.make_room()
    if not postgres.running():
        postgres.start()
    database.drop()


@pytest.fixture
def config():
    return CONFIG


@pytest.fixture
def world(tmp_path, request, postgres, database, disk, config):
    storage, clock = tmp_path / 'storage', tmp_path / 'clock'
    (tmp_path / 'blobs').mkdir()
    (tmp_path / 'no-folder').touch()
    storage.symlink_to(tmp_path / 'blobs')
    clock.write_text('+0')
    wire = Wire(postgres.port)
    cluster = Cluster(tmp_path, database.options, config)
    cluster.nodes[1].config['PostgreSQL'] = {**database.options, 'Port': wire.port}
    cluster.nodes[2].environment = fake_time(clock)
    request.node.nodes = cluster.parts
    cluster.start()
    yield World(cluster, postgres, database, wire, disk, storage, clock)
    cluster.end()
    wire.end()


@pytest.fixture
def load(world, tmp_path):
    load = Load(client_of(world), SEED, tmp_path / 'sent')
    load.poison = world.poison = Executioner(world, load)
    yield load
    load.close()


def report(faults, world, load):
    lines = ['', 'chaos of %d s, seed %d' % (SECONDS, SEED)]
    lines += ['%8s  %s' % ('-' if n is None else n, name) for name, n in faults.counts.items()]
    lines += ['%8d  %s' % (load.poison.killed, 'processes ended by poison jobs')]
    lines += ['%8d  %s' % (n, what) for what, n in sorted(load.done.items())]
    lines += ['%8d  asked again: %s' % (n, what) for what, n in sorted(load.refused.items())]
    lines += ['%8d  process ended with status %d' % (n, status) for status, n in sorted(world.ends.items())]
    return '\n'.join(lines)


def play(world, load, dice, capsys):
    """Load and faults for some time, and the end of both. Returns all jobs by their ids."""
    faults = Faults(world, dice)
    load.begin()
    try:
        faults.inject(SECONDS)
        load.running = False
        wait_for(lambda: world.tend(dice) and load.idle(), 180, 'an answer to every client')
        states = settle(load, world, dice)
    finally:
        with capsys.disabled():
            print(report(faults, world, load))
    assert not load.problems, (len(load.problems), load.problems[:5])
    missing = [name for name, n in faults.counts.items() if n == 0]
    assert not missing, 'never injected: %s' % missing
    # Nobody died who was not killed, or could not start without what it needs.
    assert set(world.ends) <= {KILLED, GAVE_UP}, world.ends
    assert world.ends[KILLED] <= faults.counts['kill -9 of a process'] + load.poison.killed
    wait_for(lambda: world.tend(dice), what='three processes')
    for node in world.nodes:
        node.wait_until_ready()
    return states


def restart(world):
    """What a process cannot know to be stored stays in doubt as long as it lives."""
    for node in world.nodes:
        node.stop()
        node.start()


def test_all_faults_at_once(world, load, capsys):
    states = play(world, load, random.Random(SEED), capsys)
    check_jobs(load, states, world.database)
    check_archives(load, world.database)
    check_modalities(load, world.nodes)
    check_changes(load)
    check_events(load, states, world.database)
    check_totals(load, world.database)
    check_instances(load, world.nodes)
    restart(world)
    check_blobs(world.nodes[0], world.database)
