"""Stores through several processes at once: one patient, one study, exact counts, each event once, no change missed."""
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from client import Client
from conftest import client_of
from dicom import dicom_bytes, instance
from follower import Follower
from jobs import wait_for
from pydicom.uid import generate_uid

STABLE_AGE = 3
CHANGES = int(os.environ.get('CLUSTER_STORES', '1500'))


@pytest.fixture
def three(cluster):
    return client_of(cluster({'StableAge': STABLE_AGE}).start())


def direct(node):
    return Client(node.url, node.dicom_port, node.aet)


def events(client, identifier):
    return Counter(c['ChangeType'] for c in client.changes() if c['ID'] == identifier)


def test_one_study_through_three_processes_at_once(three):
    study, series = generate_uid(), [generate_uid() for _ in range(4)]
    bodies = [dicom_bytes(instance(study, series[n % 4], InstanceNumber=n)) for n in range(120)]
    with ThreadPoolExecutor(9) as pool:
        stored = list(pool.map(lambda item: direct(three.nodes[item[0] % 3]).upload(item[1]), enumerate(bodies)))
    assert {s['Status'] for s in stored} == {'Success'}
    [identifier] = {s['ParentStudy'] for s in stored}
    [patient] = {s['ParentPatient'] for s in stored}
    for node in three.nodes:
        s = direct(node).json('/statistics')
        assert [s['Count' + level] for level in ('Patients', 'Studies', 'Series', 'Instances')] == [1, 1, 4, 120]
        own = direct(node).json('/studies/%s/statistics' % identifier)
        assert (int(own['CountSeries']), int(own['CountInstances'])) == (4, 120)
        assert len(direct(node).json('/studies/%s/instances' % identifier)) == 120
    assert len(three.nodes[0].blobs()) == 120
    wait_for(lambda: events(three, identifier)['StableStudy'], STABLE_AGE + 10, 'StableStudy')
    time.sleep(STABLE_AGE)
    assert events(three, identifier) == {'NewStudy': 1, 'StableStudy': 1}
    assert events(three, patient) == {'NewPatient': 1, 'StablePatient': 1}
    assert sum(c['ChangeType'] == 'StableSeries' for c in three.changes()) == 4
    assert [direct(node).json('/studies/' + identifier)['IsStable'] for node in three.nodes] == [True] * 3


def test_a_study_is_not_stable_while_another_process_still_receives(three):
    study = generate_uid()
    first = direct(three.nodes[0]).upload(dicom_bytes(instance(study)))['ParentStudy']
    end = time.monotonic() + 3 * STABLE_AGE
    while time.monotonic() < end:
        direct(three.nodes[1]).upload(dicom_bytes(instance(study)))
        time.sleep(STABLE_AGE / 6)
        assert events(three, first)['StableStudy'] == 0
        assert [direct(node).json('/studies/' + first)['IsStable'] for node in three.nodes] == [False] * 3
    wait_for(lambda: events(three, first)['StableStudy'] == 1, STABLE_AGE + 10, 'StableStudy')


def test_stability_survives_the_process_that_received(three):
    identifier = direct(three.nodes[0]).upload(dicom_bytes(instance()))['ParentStudy']
    three.nodes[0].kill()
    wait_for(lambda: events(three, identifier)['StableStudy'], STABLE_AGE + 15, 'StableStudy')
    time.sleep(STABLE_AGE)
    assert events(three, identifier)['StableStudy'] == 1


def test_who_follows_the_changes_misses_none(three):
    followers = [Follower(url) for url in [three.url, *(node.url for node in three.nodes)]]
    storing = threading.Event()
    storing.set()

    def follow(follower):
        while storing.is_set():
            follower.poll()
        wait_for(follower.poll, 60, 'the end of the changes')

    threads = [threading.Thread(target=follow, args=[follower]) for follower in followers]
    for thread in threads:
        thread.start()
    try:
        studies = [generate_uid() for _ in range(20)]
        with ThreadPoolExecutor(12) as pool:
            stored = list(pool.map(lambda n: Client(three.url, 0).upload(dicom_bytes(instance(studies[n % 20]))), range(CHANGES)))
    finally:
        storing.clear()
        for thread in threads:
            thread.join()
    for follower in followers:
        assert follower.went_back == 0
        assert follower.ids('NewInstance') == {s['ID'] for s in stored} and follower.count('NewInstance') == CHANGES
        assert follower.count('NewStudy') == 20


def test_the_same_instance_through_all_processes_at_once(three):
    for _ in range(10):
        body = dicom_bytes(instance())
        with ThreadPoolExecutor(9) as pool:
            statuses = Counter(pool.map(lambda n: direct(three.nodes[n % 3]).upload(body)['Status'], range(9)))
        assert statuses == {'Success': 1, 'AlreadyStored': 8}
    assert three.json('/statistics')['CountInstances'] == 10 and len(three.nodes[0].blobs()) == 10


def test_stores_and_deletions_at_once_leave_exact_counts(three):
    study, keep = generate_uid(), [dicom_bytes(instance()) for _ in range(30)]

    def churn(n):
        client = direct(three.nodes[n % 3])
        for _ in range(8):
            identifier = client.upload(dicom_bytes(instance(study)))['ID']
            assert direct(three.nodes[(n + 1) % 3]).delete('/instances/' + identifier).status_code == 200

    with ThreadPoolExecutor(6) as pool:
        churning = [pool.submit(churn, n) for n in range(5)]
        kept = {Client(three.url, 0).upload(body)['ID'] for body in keep}
        for one in churning:
            one.result()
    assert set(three.json('/instances')) == kept
    s = three.json('/statistics')
    assert (s['CountInstances'], s['CountStudies']) == (30, 30)
    wait_for(lambda: len(three.nodes[0].blobs()) == 30, 20, 'the removal of deleted files')
