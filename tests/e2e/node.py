"""Starts and stops real servers, each with ports and folders of its own."""
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import requests

PLEIAD = os.environ.get('PLEIAD', str(Path(__file__).parents[2] / 'target/debug/pleiad'))
START_SECONDS = 30
STOP_SECONDS = 20


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Node:
    """One process. Its folder outlives it, so that it can be started again on the same data."""

    def __init__(self, folder, config=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = {
            'StorageDirectory': 'storage',
            'HttpPort': free_port(),
            'DicomPort': free_port(),
            'HttpBindAddresses': ['127.0.0.1'],
            **(config or {}),
        }
        self.process = None

    @property
    def url(self):
        return 'http://127.0.0.1:%d' % self.config['HttpPort']

    @property
    def dicom_port(self):
        return self.config['DicomPort']

    @property
    def aet(self):
        return self.config.get('DicomAet', 'ORTHANC')

    @property
    def storage(self):
        return self.folder / self.config['StorageDirectory']

    @property
    def log(self):
        path = self.folder / 'log'
        return path.read_text(errors='replace') if path.exists() else ''

    def start(self, *arguments, stderr=None):
        """Starts it and waits until it is ready."""
        self.spawn(*arguments, stderr=stderr)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError('the server ended with status %s:\n%s' % (self.process.returncode, self.log))
            try:
                if requests.get(self.url + '/readyz', timeout=5).ok:
                    return self
            except requests.ConnectionError:
                pass
            time.sleep(0.02)
        raise AssertionError('the server is not ready after %d s:\n%s' % (START_SECONDS, self.log))

    def spawn(self, *arguments, stderr=None):
        """Starts it and waits for nothing."""
        path = self.folder / 'pleiad.json'
        path.write_text(json.dumps(self.config, indent=1))
        with open(self.folder / 'log', 'ab') as log:
            self.process = subprocess.Popen(
                [PLEIAD, *arguments, str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=stderr or log)
        return self.process

    def stop(self):
        """SIGTERM. Returns the exit status and how many seconds it took."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_SECONDS)
        return status, time.monotonic() - begin

    def kill(self):
        """SIGKILL, as a power cut for this process."""
        self.process.kill()
        self.process.wait()

    def end(self):
        """Leaves nothing running."""
        if self.process and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()

    def blobs(self):
        """The files in the storage folder that are named like blobs."""
        return [p for p in self.storage.rglob('*') if p.is_file() and len(p.name) == 36]
