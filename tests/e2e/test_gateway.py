"""`deploy/haproxy.cfg`: to whom requests and associations go, and what clients see when processes stop, die, hang and come back.

The processes here share nothing, so that their answers tell them apart.
"""
import http.client
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from client import Client
from cluster import NAMES, Gateway
from dicom import dicom_bytes, echoscu, files, instance, storescu
from node import Node


@pytest.fixture
def gateway(tmp_path, request, node):
    """Three separate servers behind the gateway."""
    one = Gateway(tmp_path / 'gateway', [node({'Name': name}, name).start() for name in NAMES])
    request.node.nodes.append(one)
    return one.start()


def name(gateway):
    answer = requests.get(gateway.url + '/system', headers={'Connection': 'close'}, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()['Name']


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'not within %d s' % seconds
        time.sleep(0.1)


def test_each_request_goes_to_the_next_process(gateway):
    asked = [name(gateway) for _ in range(9)]
    assert asked[:3] == asked[3:6] == asked[6:] and set(asked) == set(NAMES)
    with requests.Session() as session:  # also on one connection that is kept open
        kept = Counter(session.get(gateway.url + '/system', timeout=20).json()['Name'] for _ in range(9))
    assert kept == Counter({n: 3 for n in NAMES})


def test_each_association_goes_to_the_next_process(gateway, tmp_path):
    client = Client(gateway.url, gateway.dicom_port)
    for path in files(tmp_path / 'sent', [instance() for _ in range(6)]):
        done = storescu(client, [path])
        assert done.returncode == 0, done.stdout
    for one in gateway.nodes:
        assert requests.get(one.url + '/statistics', timeout=20).json()['CountInstances'] == 2


@pytest.mark.parametrize('how, method, lost', [
    (Node.stop, 'GET', 0),
    (Node.stop, 'POST', 0),
    (Node.kill, 'GET', 0),  # asked again, of the next process
    (Node.kill, 'POST', 4),  # one per connection may have been begun; nobody may guess what became of it
])
def test_requests_are_served_when_a_process_goes_and_comes_back(gateway, how, method, lost):
    path = {'GET': '/system', 'POST': '/tools/lookup'}[method]
    failures, served, running = [], [], threading.Event()
    running.set()

    def ask(_):
        while running.is_set():
            try:
                answer = requests.request(method, gateway.url + path, data='x' if method == 'POST' else None,
                                          headers={'Connection': 'close'}, timeout=20)
                (served if answer.ok else failures).append(answer.text)
            except requests.RequestException as error:
                failures.append(repr(error))

    def serve_more(count):
        goal = len(served) + count
        wait_for(lambda: len(served) >= goal)

    with ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(ask, n) for n in range(4)]
        try:
            serve_more(50)
            how(gateway.nodes[1])
            serve_more(100)
            wait_for(lambda: 'Server http/two is DOWN' in gateway.log)
            gateway.nodes[1].start()
            wait_for(lambda: 'Server http/two is UP' in gateway.log)
            serve_more(50)
        finally:
            running.clear()
        for asker in askers:
            asker.result()
    assert len(failures) <= lost, failures
    assert {name(gateway) for _ in range(6)} == set(NAMES)
    assert echoscu(Client(gateway.url, gateway.dicom_port)).returncode == 0


def test_a_process_that_stops_lets_requests_and_associations_end(gateway):
    body = dicom_bytes(instance(size=256))
    begun = threading.Event()

    def slow():
        yield body[:1000]
        begun.set()
        time.sleep(2)
        yield body[1000:]

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: requests.post(gateway.url + '/instances', data=slow(), timeout=30))
        begun.wait()
        time.sleep(0.2)
        for one in gateway.nodes:
            one.process.terminate()
        assert answer.result().status_code == 200


def test_a_frozen_process_is_passed_over(gateway):
    gateway.nodes[0].freeze()
    wait_for(lambda: 'http/one is DOWN' in gateway.log)
    assert {name(gateway) for _ in range(6)} == {'two', 'three'}
    client = Client(gateway.url, gateway.dicom_port)
    assert all(echoscu(client).returncode == 0 for _ in range(3)), 'the health of the HTTP port counts for DICOM'
    gateway.nodes[0].thaw()
    wait_for(lambda: 'http/one is UP' in gateway.log)
    assert {name(gateway) for _ in range(3)} == set(NAMES)


def test_without_any_process_the_answer_is_503_and_when_to_come_back(gateway):
    for one in gateway.nodes:
        one.kill()
    wait_for(lambda: "backend 'http' has no server available" in gateway.log or 'backend http has no server available' in gateway.log)
    answer = requests.get(gateway.url + '/system', timeout=20)
    assert answer.status_code == 503 and int(answer.headers['Retry-After']) > 0 and answer.json()['HttpStatus'] == 503
    assert echoscu(Client(gateway.url, gateway.dicom_port)).returncode != 0
    gateway.nodes[2].start()
    wait_for(lambda: requests.get(gateway.url + '/system', timeout=20).status_code == 200)
    assert name(gateway) == 'three'


def test_long_addresses_and_big_bodies_pass(gateway):
    with requests.Session() as session:
        answer = session.get(gateway.url + '/tools/nothing?resources=' + ','.join(['0' * 44] * 1000), timeout=20)
    assert answer.status_code == 404 and answer.json()['HttpStatus'] == 404, 'the process answered, not the gateway'
    stored = Client(gateway.url, gateway.dicom_port).upload(dicom_bytes(instance(size=4000)))
    assert stored['Status'] == 'Success'


def test_patients_stay_out_of_the_log(gateway):
    requests.get(gateway.url + '/studies?PatientName=Doe', timeout=20)
    wait_for(lambda: 'GET /studies' in gateway.log)
    assert 'Doe' not in gateway.log


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that it received."""

    def do_GET(self):
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_the_address_of_the_client_is_passed_on_and_cannot_be_forged(tmp_path, node):
    server = ThreadingHTTPServer(('127.0.0.1', 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    gateway = Gateway(tmp_path / 'gateway', [node({'HttpPort': server.server_port}) for _ in NAMES])
    try:
        gateway.start()
        connection = http.client.HTTPConnection('127.0.0.1', gateway.http_port, timeout=20)
        forged = {'X-Forwarded-For': '10.9.8.7', 'Forwarded': 'for=10.9.8.7', 'X-Forwarded-Proto': 'https'}
        connection.request('GET', '/', headers=forged)
        headers = {k.lower(): v for k, v in json.load(connection.getresponse()).items()}
        assert headers['x-forwarded-for'] == '127.0.0.1' and headers['x-forwarded-proto'] == 'http'
        assert 'forwarded' not in headers
    finally:
        gateway.end()
        server.shutdown()
        server.server_close()
