"""Three processes are restarted one after the other, as an upgrade does, while clients store, search and send through the gateway.

Nothing that a client asked for may fail, and no job: `/readyz` goes first, the gateway sees it and sends nobody more, what has begun
may end, and jobs go on in another process at once.
"""
import threading
import time
from collections import Counter

import pytest
import requests
from client import Client
from conftest import client_of
from dicom import dicom_bytes, echoscu, files, instance, storescu
from jobs import create, job, wait_for
from pydicom.uid import generate_uid

ROUNDS = 2


class Load:
    """Clients that ask again and again until they are told to end. Each entry of `failed` is an answer that was no good."""

    def __init__(self):
        self.running = True
        self.served, self.failed = Counter(), []
        self.threads = []

    def start(self, name, work):
        def again():
            while self.running:
                try:
                    problem = work()
                except (requests.RequestException, AssertionError, OSError) as error:
                    problem = repr(error)
                if problem:
                    self.failed.append((name, time.monotonic(), problem))
                else:
                    self.served[name] += 1
        self.threads.append(threading.Thread(target=again, daemon=True))
        self.threads[-1].start()

    def serve_more(self, count):
        goal = {name: n + count for name, n in self.served.items()}
        wait_for(lambda: all(self.served[name] >= n for name, n in goal.items()), 120, '%d more of each' % count)

    def end(self):
        self.running = False
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive()


@pytest.fixture
def three(cluster):
    return client_of(cluster({'JobsHistorySize': 10000, 'MediaArchiveSize': 5, 'ConcurrentJobs': 4}).start())


def test_a_rolling_restart_under_load_fails_nothing(three, receiver, tmp_path):
    destination = receiver(delay=0.02)
    assert three.request('PUT', '/modalities/destination', json=destination.modality).ok
    study, series = generate_uid(), generate_uid()
    first = [three.upload(dicom_bytes(instance(study, series, InstanceNumber=n + 1))) for n in range(20)]
    sent_study = first[0]['ParentStudy']
    load, made, stored = Load(), [], []

    def client():
        return Client(three.url, three.dicom_port, three.aet)

    def status(answer, *expected):
        return None if answer.status_code in expected else '%d: %s' % (answer.status_code, answer.text[:300])

    def store():
        answer = client().post('/instances', dicom_bytes(instance()))
        if answer.status_code == 200:
            stored.append(answer.json()['ID'])
        return status(answer, 200)

    kept = requests.Session()  # on one connection, as long as it lives

    def read_again():
        return status(kept.get(three.url + '/instances/%s/tags?simplify' % first[0]['ID'], timeout=60), 200)

    def find():
        return status(client().post('/tools/find', '{"Level": "Study", "Query": {"StudyInstanceUID": "%s"}}' % study), 200)

    def associate():
        folder = tmp_path / ('sent%s' % generate_uid())
        done = storescu(client(), files(folder, [instance()]))
        return done.stdout if done.returncode else None

    def echo():
        done = echoscu(client())
        return done.stdout if done.returncode else None

    def send():
        made.append(create(client(), '/modalities/destination/store', Resources=[sent_study]))
        time.sleep(0.3)

    def archive():
        answer = client().post('/studies/%s/archive' % sent_study, '{"Asynchronous": true}')
        if answer.ok:
            made.append(answer.json()['ID'])
        return status(answer, 200)

    def wait_for_send():
        answer = client().post('/modalities/destination/store', None, json={'Resources': [first[0]['ID']], 'Synchronous': True})
        return status(answer, 200)

    for name, work in [('store', store), ('read', read_again), ('find', find), ('associate', associate), ('echo', echo),
                       ('send', send), ('archive', archive), ('synchronous', wait_for_send)]:
        load.start(name, work)
    try:
        wait_for(lambda: len(load.served) == 8, 60, 'one of each')
        load.serve_more(3)
        for _ in range(ROUNDS):
            for node in three.nodes:
                up = '/%s is UP' % node.config['Name']
                seen = three.gateway.log.count(up)
                gone = three.gateway.log.count('/%s is DOWN' % node.config['Name'])
                exit_status, _ = node.stop()
                assert exit_status == 0, node.log[-3000:]
                assert three.gateway.log.count('/%s is DOWN' % node.config['Name']) > gone, 'the gateway saw it before it was gone'
                load.serve_more(2)
                node.start()
                wait_for(lambda: three.gateway.log.count(up) > seen, 20, 'back at the gateway')
                load.serve_more(2)
    finally:
        load.end()
    assert not load.failed, (len(load.failed), load.failed[:5], load.served)
    listed = {one['ID']: one for one in three.json('/jobs?expand')}
    assert set(made) <= set(listed), 'every job is there'
    for identifier in made:
        wait_for(lambda: job(three, identifier)['State'] in ('Success', 'Failure'), 120, 'the end of %s' % identifier)
    ended = [job(three, identifier) for identifier in made]
    assert {one['State'] for one in ended} == {'Success'}, [one for one in ended if one['State'] != 'Success'][:3]
    assert all(one['Content'].get('FailedInstancesCount', 0) == 0 for one in ended)
    assert set(stored) <= set(three.json('/instances')), 'what was acknowledged is there'


def test_a_stopping_process_hands_its_jobs_over_at_once(three, receiver):
    destination = receiver(delay=0.2)
    assert three.request('PUT', '/modalities/destination', json=destination.modality).ok
    study, series = generate_uid(), generate_uid()
    stored = [three.upload(dicom_bytes(instance(study, series, InstanceNumber=n + 1))) for n in range(30)]
    made = create(three, '/modalities/destination/store', Resources=[stored[0]['ParentStudy']])
    wait_for(lambda: len(destination.arrivals) >= 4, what='four arrivals')
    pids = [n['Pid'] for n in three.json('/cluster/nodes') if n['RunningJobs']]
    [runner] = [node for node in three.nodes if node.process.pid in pids]
    runner.process.terminate()
    asked = time.monotonic()
    before = len(destination.arrivals)
    wait_for(lambda: len(destination.arrivals) >= before + 3, what='going on elsewhere')
    # The step under way, and the look of another process: far below a lease.
    assert destination.arrivals[before + 2][0] - asked < 5
    wait_for(lambda: job(three, made)['State'] == 'Success', 60, 'success')
    found = job(three, made)
    assert found['Content']['FailedInstancesCount'] == 0
    assert len(destination.counts()) == 30 and set(destination.counts().values()) == {1}, 'a hand-over repeats nothing'
