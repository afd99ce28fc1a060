#!/usr/bin/env python3
"""A first impression of speed and memory: one server, clients of this machine, synthetic instances.

The clients are Python and share the processors with the server, so the rates say less than the CPU time per request.
"""
import http.client
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'e2e'))
from dicom import dicom_bytes, instance  # noqa: E402
from node import Node  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402


def cpu_seconds(pid):
    fields = open('/proc/%d/stat' % pid).read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def peak_mib(pid):
    [line] = [line for line in open('/proc/%d/status' % pid) if line.startswith('VmHWM')]
    return int(line.split()[1]) / 1024


def measure(name, node, requests, connections):
    """Sends (method, path, body) over some connections and prints what it cost."""
    queue = list(reversed(requests))

    def work(_):
        connection = http.client.HTTPConnection('127.0.0.1', node.config['HttpPort'])
        while queue:
            try:
                method, path, body = queue.pop()
            except IndexError:
                return
            connection.request(method, path, body)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, (path, answer.status)

    pid = node.process.pid
    cpu, begin = cpu_seconds(pid), time.monotonic()
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(work, range(connections)))
    took, cpu, n = time.monotonic() - begin, cpu_seconds(pid) - cpu, len(requests)
    print('%-28s %2d connections %7.0f/s %8.2f ms CPU each   peak %4.0f MiB' % (
        name, connections, n / took, cpu / n * 1000, peak_mib(pid)), flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        node = Node(folder).start()
        try:
            for name, size, n in [('store small (1 kB)', 16, 2000), ('store CT (512 KiB)', 512, 300)]:
                study = generate_uid()
                for connections in [1, 8]:
                    bodies = [dicom_bytes(instance(study, size=size)) for _ in range(n)]
                    measure(name, node, [('POST', '/instances', body) for body in bodies], connections)
            connection = http.client.HTTPConnection('127.0.0.1', node.config['HttpPort'])
            connection.request('GET', '/instances')
            ids = json.loads(connection.getresponse().read())
            for path in ['/instances/%s/file', '/instances/%s/simplified-tags', '/instances/%s']:
                measure('GET ' + path % 'ID', node, [('GET', path % one, None) for one in ids[-2000:]], 8)
        finally:
            node.end()


main()
