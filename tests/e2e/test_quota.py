"""Limits on what is stored, against one process and against three behind a balancer: who goes, who stays, what senders are told."""
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from client import Client
from conftest import client_of
from dicom import dicom_bytes, files, instance, storescu
from jobs import wait_for


def body(patient, size=16):
    return dicom_bytes(instance(PatientID=patient, size=size))


def patients(client):
    return {p['MainDicomTags']['PatientID'] for p in client.json('/patients?expand')}


@pytest.mark.config(MaximumPatientCount=3)
def test_the_patient_stored_into_the_longest_ago_goes(server):
    ids = {name: server.upload(body(name))['ParentPatient'] for name in 'ABC'}
    server.upload(body('A'))
    server.upload(body('D'))
    assert patients(server) == set('ACD')
    server.request('PUT', '/patients/%s/protected' % ids['C'], data='1')
    server.upload(body('E'))
    assert patients(server) == set('CDE')
    server.request('PUT', '/patients/%s/protected' % ids['C'], data='0')
    server.upload(body('F'))
    server.upload(body('G'))
    assert patients(server) == set('CFG')
    wait_for(lambda: len(server.nodes[0].blobs()) == server.json('/statistics')['CountInstances'], 10, 'files to go')


@pytest.mark.config(MaximumPatientCount=2, MaximumStorageMode='Reject')
def test_who_is_not_let_in_is_told(server, tmp_path):
    server.upload(body('A'))
    server.upload(body('B'))
    refused = server.post('/instances', body('C'))
    assert (refused.status_code, refused.json()['OrthancStatus']) == (507, 19)
    [path] = files(tmp_path / 'sent', [instance(PatientID='C')])
    sent = storescu(server, [path], '-v')
    assert 'Refused: OutOfResources' in sent.stdout, sent.stdout
    server.upload(body('B'))
    assert patients(server) == {'A', 'B'}
    wait_for(lambda: len(server.nodes[0].blobs()) == 3, 10, 'refused files to go')


@pytest.mark.config(MaximumPatientCount=1)
def test_all_are_protected(server):
    one = server.upload(body('A'))['ParentPatient']
    server.request('PUT', '/patients/%s/protected' % one, data='1')
    assert server.post('/instances', body('B')).status_code == 507
    assert patients(server) == {'A'}


@pytest.mark.config(MaximumStorageSize=1, MaximumPatientCount=9)
def test_stores_through_all_processes_never_exceed_the_limits(server):
    safe = server.upload(body('SAFE'))['ParentPatient']
    server.request('PUT', '/patients/%s/protected' % safe, data='1')
    ended, seen = threading.Event(), []

    def watch():
        # A session of its own: those of `requests` are for one thread.
        own = Client(server.nodes[0].url, 0)
        while not ended.is_set():
            totals = own.json('/statistics')
            seen.append((int(totals['TotalDiskSize']), totals['CountPatients']))
            assert own.get('/patients/' + safe).status_code == 200

    def store(n):
        node = server.nodes[n % len(server.nodes)]
        return Client(node.url, 0).post('/instances', body('P%d' % (n % 14), size=128 + n % 64)).status_code

    with ThreadPoolExecutor(10) as pool:
        watcher = pool.submit(watch)
        statuses = set(pool.map(store, range(150)))
        ended.set()
        watcher.result()
    assert statuses == {200}
    assert max(size for size, _ in seen) <= 1 << 20
    assert max(count for _, count in seen) <= 9
    # 150 files of 32 KiB to 73 KiB were stored: the limit was reached.
    assert max(size for size, _ in seen) > 1 << 19
    assert 'SAFE' in patients(server)
    wait_for(lambda: len(server.nodes[0].blobs()) == server.json('/statistics')['CountInstances'], 10, 'files to go')


def test_a_process_that_dies_while_it_recycles(cluster):
    three = client_of(cluster({'MaximumPatientCount': 4}).start())
    safe = three.upload(body('SAFE'))['ParentPatient']
    three.request('PUT', '/patients/%s/protected' % safe, data='1')
    living = three.nodes[1:]

    def store(n):
        node = living[n % 2]
        return Client(node.url, 0).post('/instances', body('P%d' % (n % 9))).status_code

    def store_and_die(n):
        try:
            return Client(three.nodes[0].url, 0).post('/instances', body('Q%d' % n)).status_code
        except OSError:
            return None

    with ThreadPoolExecutor(8) as pool:
        dying = [pool.submit(store_and_die, n) for n in range(40)]
        stored = pool.map(store, range(60))
        wait_for(lambda: sum(d.done() for d in dying) > 5, 30, 'stores')
        three.nodes[0].kill()
        assert set(stored) == {200}
    assert {d.result() for d in dying} <= {200, None}
    totals = Client(living[0].url, 0).json('/statistics')
    assert totals['CountPatients'] == 4
    assert Client(living[1].url, 0).get('/patients/' + safe).status_code == 200
    wait_for(lambda: len(living[0].blobs()) == totals['CountInstances'], 120, 'files to go')
