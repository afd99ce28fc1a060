"""Several processes on one database and one storage folder, behind HAProxy. Standard library only."""
import getpass
import grp
import os
import subprocess
from pathlib import Path

from node import Node
from processes import bound, find_program, free_port, read_log, wait_for_port

CONFIGURATION = Path(__file__).parents[2] / 'deploy/haproxy.cfg'
NAMES = ['one', 'two', 'three']


class Gateway:
    """HAProxy with the file that hospitals start from: each request and each association goes to the next process."""

    def __init__(self, folder, nodes, http_port=None, dicom_port=None):
        self.folder = Path(folder)
        self.nodes = nodes
        self.http_port, self.dicom_port = http_port or free_port(), dicom_port or free_port()
        self.process = None

    @property
    def url(self):
        return 'http://127.0.0.1:%d' % self.http_port

    @property
    def log(self):
        return read_log(self.folder / 'log')

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        addresses = {'PLEIAD_HTTP': self.http_port, 'PLEIAD_DICOM': self.dicom_port}
        for number, node in enumerate(self.nodes, 1):
            addresses['PLEIAD_%d_HTTP' % number] = node.config['HttpPort']
            addresses['PLEIAD_%d_DICOM' % number] = node.dicom_port
        variables = {name: '127.0.0.1:%d' % port for name, port in addresses.items()}
        variables['PLEIAD_GATEWAY_LOG'] = 'stdout'
        variables['PLEIAD_GATEWAY_USER'] = getpass.getuser()
        variables['PLEIAD_GATEWAY_GROUP'] = grp.getgrgid(os.getgid()).gr_name
        with open(self.folder / 'log', 'ab') as log:
            self.process = subprocess.Popen(
                bound([find_program('haproxy'), '-db', '-f', CONFIGURATION]), env={**os.environ, **variables},
                start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for_port(self.http_port, self.process, 10, self.folder / 'log')
        return self

    def ask_to_end(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()

    def end(self):
        self.ask_to_end()
        if self.process:
            self.process.wait()


class Cluster:
    """Three processes and their gateway. `postgres`: the section of their configuration that names the database."""

    def __init__(self, folder, postgres, config=None, http_port=None, dicom_port=None):
        folder = Path(folder)
        shared = {'StorageDirectory': str(folder / 'storage'), 'PostgreSQL': postgres, **(config or {})}
        self.nodes = []
        for number, name in enumerate(NAMES, 1):
            own = {'Name': name}
            if http_port:
                own.update(HttpPort=http_port + number, DicomPort=dicom_port + number)
            self.nodes.append(Node(folder / name, {**own, **shared}))
        self.gateway = Gateway(folder / 'gateway', self.nodes, http_port, dicom_port)

    def start(self):
        """Starts all processes at once, and the gateway when they are ready."""
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.wait_until_ready()
        self.gateway.start()
        return self

    @property
    def parts(self):
        """In the order in which they stop."""
        return [self.gateway, *self.nodes]

    def end(self):
        self.gateway.end()
        for node in self.nodes:
            node.ask_to_end()
        for node in self.nodes:
            node.end()
