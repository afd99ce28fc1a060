"""What tests are given.

`server` is what most tests need: a running server with empty storage, of which they know the addresses only. It is made
once for each entry of TOPOLOGIES, so that the same test runs against one process and against several behind a balancer.
`node` and `cluster` make processes that the test itself starts, stops and kills; `database` is one on a PostgreSQL that the
test may stop and start.
"""
import os
import threading
import time

import pytest
from client import Client
from cluster import Cluster
from disk import SmallDisk
from node import Node
from pooler import Pooler
from postgres import FAST, Postgres
from receiver import Receiver

# single: one process on SQLite; postgres: one on PostgreSQL; cluster: three on PostgreSQL behind HAProxy.
TOPOLOGIES = os.environ.get('PLEIAD_TOPOLOGIES', 'single,cluster').split(',')


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the log of each server of a failed test."""
    report = yield
    if report.failed:
        for node in getattr(item, 'nodes', []):
            report.sections.append(('log of %s' % node.folder.name, node.log[-5000:]))
    return report


@pytest.fixture(autouse=True)
def no_thread_left():
    """A thread that a test leaves behind would keep the whole run from ending: the test fails instead."""
    before = set(threading.enumerate())
    yield
    end = time.monotonic() + 15
    while left := [t for t in threading.enumerate() if t not in before and not t.daemon]:
        assert time.monotonic() < end, 'left behind: %s' % left
        left[0].join(0.1)


@pytest.fixture
def node(tmp_path, request):
    """Makes nodes; all are ended after the test."""
    nodes = request.node.nodes = []

    def make(config=None, name=None):
        nodes.append(Node(tmp_path / (name or 'node%d' % len(nodes)), config))
        return nodes[-1]

    yield make
    for one in nodes:
        one.ask_to_end()
    for one in nodes:
        one.end()


@pytest.fixture(scope='session')
def postgres():
    """One PostgreSQL for all tests."""
    server = Postgres(**FAST).start()
    yield server
    server.end()


@pytest.fixture
def database(postgres):
    """An empty database."""
    name = 'test%d' % next(NUMBERS)
    database = postgres.create_database(name)
    yield database
    if not postgres.running():
        postgres.start()
    database.drop()


@pytest.fixture
def pooler(database):
    """Puts a pooler before the database; returns the options of a process that uses it."""
    made = []

    def make(mode):
        made.append(Pooler(database, mode).start())
        return made[-1].options

    yield make
    for one in made:
        one.end()


NUMBERS = iter(range(1, 1_000_000))


@pytest.fixture
def cluster(tmp_path, request, database):
    """Makes a cluster on the database; it is ended after the test."""
    made = []

    def make(config=None):
        one = Cluster(tmp_path, database.options, config)
        made.append(one)
        request.node.nodes = one.parts
        return one

    yield make
    for one in made:
        one.end()


@pytest.fixture
def receiver():
    """Makes destinations of sends; all are ended after the test."""
    made = []

    def make(**options):
        made.append(Receiver(**options))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def small_disk():
    """Mounts small file systems; all are gone after the test."""
    mounted = []

    def make(folder, mib=4):
        disk = SmallDisk(folder, mib)
        if not disk.mount():
            pytest.skip('SKIPPED: mounting a small disk needs root')
        mounted.append(disk)
        return disk

    yield make
    for disk in mounted:
        disk.end()


def client_of(cluster):
    """Speaks with the gateway. `nodes`, `gateway`: what it is made of."""
    client = Client(cluster.gateway.url, cluster.gateway.dicom_port, cluster.nodes[0].aet)
    client.nodes, client.gateway = cluster.nodes, cluster.gateway
    return client


@pytest.fixture(params=TOPOLOGIES)
def server(request):
    """A server with the defaults, plus those of `@pytest.mark.config(Option=value)`."""
    mark = request.node.get_closest_marker('config')
    config = mark.kwargs if mark else {}
    if request.param == 'cluster':
        return client_of(request.getfixturevalue('cluster')(config).start())
    if request.param == 'postgres':
        config = {'PostgreSQL': request.getfixturevalue('database').options, **config}
    one = request.getfixturevalue('node')(config).start()
    client = Client(one.url, one.dicom_port, one.aet)
    client.nodes = [one]
    return client
