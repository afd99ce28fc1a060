"""Starts and stops real servers, each with ports and folders of its own. Standard library only."""
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from processes import bound, free_port, read_log

PLEIAD = os.environ.get('PLEIAD', str(Path(__file__).parents[2] / 'target/debug/pleiad'))
START_SECONDS = 30
STOP_SECONDS = 20


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
        self.environment = {}
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
        return read_log(self.folder / 'log')

    def start(self, *arguments, stderr=None):
        """Starts it, in the main thread (see `bound`), and waits until it is ready."""
        self.spawn(*arguments, stderr=stderr)
        return self.wait_until_ready()

    def spawn(self, *arguments, stderr=None):
        """Starts it and waits for nothing."""
        path = self.folder / 'pleiad.json'
        path.write_text(json.dumps(self.config, indent=1))
        with open(self.folder / 'log', 'ab') as log:
            self.process = subprocess.Popen(
                bound([PLEIAD, *arguments, path]), env={**os.environ, **self.environment}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=stderr or log)
        return self.process

    def wait_until_ready(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError('the server ended with status %s:\n%s' % (self.process.returncode, self.log))
            try:
                urllib.request.urlopen(self.url + '/readyz', timeout=5).close()
                return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise AssertionError('the server is not ready after %d s:\n%s' % (START_SECONDS, self.log))

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

    def freeze(self):
        """SIGSTOP, as a virtual machine that is paused."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def ask_to_end(self):
        """Ends it without waiting; also one that is frozen."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.thaw()

    def end(self):
        """Leaves nothing running."""
        self.ask_to_end()
        if self.process:
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def blobs(self):
        """The files in the storage folder that are named like blobs."""
        return [p for p in self.storage.rglob('*') if p.is_file() and len(p.name) == 36]
