"""What tests are given.

`server` is what most tests need: a running server with empty storage, of which they know the addresses only. It is made
once for each entry of TOPOLOGIES, so that the same test runs against one process and against several behind a balancer.
`node` makes processes that the test itself starts, stops and kills.
"""
import pytest
from client import Client
from node import Node

TOPOLOGIES = ['single']


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the log of each server of a failed test."""
    report = yield
    if report.failed:
        for node in getattr(item, 'nodes', []):
            report.sections.append(('log of %s' % node.folder.name, node.log[-5000:]))
    return report


@pytest.fixture
def node(tmp_path, request):
    """Makes nodes; all are ended after the test."""
    nodes = request.node.nodes = []

    def make(config=None, name=None):
        nodes.append(Node(tmp_path / (name or 'node%d' % len(nodes)), config))
        return nodes[-1]

    yield make
    for one in nodes:
        one.end()


@pytest.fixture(params=TOPOLOGIES)
def server(request, node):
    """A server with the defaults, plus those of `@pytest.mark.config(Option=value)`."""
    mark = request.node.get_closest_marker('config')
    config = mark.kwargs if mark else {}
    assert request.param == 'single'
    one = node(config).start()
    client = Client(one.url, one.dicom_port, one.aet)
    client.nodes = [one]
    return client
