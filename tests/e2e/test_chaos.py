"""kill -9 at random moments while eight connections store and one client follows the changes: of one process, and of three.

`CHAOS_STORES`, `CHAOS_KILLS` and `CHAOS_SEED` set the size: `make test` runs a small one.
"""
import hashlib
import os
import random
import threading
import time

import requests
from dicom import dicom_bytes, instance
from follower import Follower
from jobs import wait_for

STORES = int(os.environ.get('CHAOS_STORES', '2000'))
KILLS = int(os.environ.get('CHAOS_KILLS', '5'))
SEED = int(os.environ.get('CHAOS_SEED', '1'))
CONNECTIONS = 8
PER_STUDY = 500


class Stores:
    """Stores instances on several connections, each again until it is acknowledged.

    `again`: the statuses of a gateway whose process died within, or that finds none ready. Any other refusal is a problem.
    """

    def __init__(self, url, again=()):
        self.url, self.again = url, again
        self.lock = threading.Lock()
        self.next = 0
        self.acknowledged = {}
        self.problems = []
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(CONNECTIONS)]
        for thread in self.threads:
            thread.start()

    def take(self):
        with self.lock:
            self.next += 1
            return self.next - 1

    def work(self):
        while (number := self.take()) < STORES:
            study = number // PER_STUDY
            body = dicom_bytes(instance('2.25.7%d' % study, '2.25.8%d' % study, SOPInstanceUID='2.25.9%d' % number))
            while True:
                try:
                    answer = requests.post(self.url + '/instances', data=body, timeout=20)
                except requests.RequestException:
                    time.sleep(0.02)
                    continue
                if answer.status_code in self.again:
                    time.sleep(0.02)
                    continue
                if answer.ok:
                    with self.lock:
                        self.acknowledged[answer.json()['ID']] = hashlib.md5(body).hexdigest()
                    break
                self.problems.append(answer.text)

    def running(self):
        return any(thread.is_alive() for thread in self.threads)


def check(url, storage, stores, follower):
    """Everything that was acknowledged is there, once; nothing else is; the counts and the changes agree."""
    listed = set(requests.get(url + '/instances').json())
    assert listed == set(stores.acknowledged)
    statistics = requests.get(url + '/statistics').json()
    studies = -(-STORES // PER_STUDY)
    assert (statistics['CountInstances'], statistics['CountStudies']) == (STORES, studies)
    for identifier, digest in stores.acknowledged.items():
        body = requests.get('%s/instances/%s/file' % (url, identifier)).content
        assert hashlib.md5(body).hexdigest() == digest
    # Names that a killed process of a cluster reserved count as in use for a minute.
    wait_for(lambda: len(storage.blobs()) == STORES, 120, 'the removal of files without a row')
    assert follower.went_back == 0
    assert (follower.count('NewInstance'), follower.count('NewStudy')) == (STORES, studies)


def chaos(url, stores, follower, kill):
    """Follows the changes and calls `kill` at random moments until all is stored."""
    # The kills are spread over the stores, so that each of them hits a busy server.
    moments = sorted(random.Random(SEED).sample(range(STORES // 20, STORES - STORES // 20), KILLS))
    while stores.running():
        follower.poll()
        if moments and len(stores.acknowledged) >= moments[0]:
            moments.pop(0)
            kill()
        time.sleep(0.01)
    wait_for(follower.poll, 60, 'the end of the changes')
    assert not moments, 'the stores ended before the last kill'
    assert not stores.problems, stores.problems[:3]


def test_nothing_acknowledged_is_lost(node):
    one = node({'StableAge': 3600}).start()
    stores, follower = Stores(one.url), Follower(one.url)

    def kill():
        one.kill()
        one.start()

    chaos(one.url, stores, follower, kill)
    kill()  # the sweep at the start removes what the kills left
    check(one.url, one, stores, follower)


def test_nothing_acknowledged_is_lost_behind_the_gateway(cluster):
    """One process after the other dies; the next one is killed when the last is back or still starting."""
    made_of = cluster({'StableAge': 3600}).start()
    dice = random.Random(SEED)
    url = made_of.gateway.url
    stores, follower = Stores(url, again=(502, 503)), Follower(url)
    starting = []

    def kill():
        for node in starting:
            node.wait_until_ready()
        victim = dice.choice(made_of.nodes)
        victim.kill()
        victim.spawn()
        starting[:] = [victim]

    chaos(url, stores, follower, kill)
    for node in made_of.nodes:
        node.wait_until_ready()
    for node in made_of.nodes:
        check(node.url, node, stores, follower)
