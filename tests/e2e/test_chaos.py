"""kill -9 at random moments while eight connections store and one client follows the changes.

`CHAOS_STORES`, `CHAOS_KILLS` and `CHAOS_SEED` set the size: `make test` runs a small one.
"""
import hashlib
import os
import random
import threading
import time

import requests
from dicom import dicom_bytes, instance

STORES = int(os.environ.get('CHAOS_STORES', '2000'))
KILLS = int(os.environ.get('CHAOS_KILLS', '5'))
SEED = int(os.environ.get('CHAOS_SEED', '1'))
CONNECTIONS = 8
PER_STUDY = 500


class Stores:
    """Stores instances on several connections, each again until it is acknowledged."""

    def __init__(self, url):
        self.url = url
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
                if answer.ok:
                    with self.lock:
                        self.acknowledged[answer.json()['ID']] = hashlib.md5(body).hexdigest()
                    break
                self.problems.append(answer.text)

    def running(self):
        return any(thread.is_alive() for thread in self.threads)


class Follower:
    """Polls `/changes?since=` as clients do."""

    def __init__(self, url):
        self.url = url
        self.last = 0
        self.went_back = 0
        self.seen = []

    def poll(self):
        """Takes a page; says whether it was the last."""
        try:
            page = requests.get('%s/changes?since=%d&limit=1000' % (self.url, self.last), timeout=5).json()
        except requests.RequestException:
            return False
        self.went_back += page['Last'] < self.last
        self.last = max(self.last, page['Last'])
        self.seen += [(change['ChangeType'], change['ID']) for change in page['Changes']]
        return page['Done']

    def count(self, kind):
        ids = [identifier for name, identifier in self.seen if name == kind]
        assert len(ids) == len(set(ids)), '%s came twice for one resource' % kind
        return len(ids)


def test_nothing_acknowledged_is_lost(node):
    dice = random.Random(SEED)
    one = node({'StableAge': 3600}).start()
    stores, follower = Stores(one.url), Follower(one.url)
    # The kills are spread over the stores, so that each of them hits a busy server.
    moments = sorted(dice.sample(range(STORES // 20, STORES - STORES // 20), KILLS))
    kills = 0
    while stores.running():
        follower.poll()
        if kills < KILLS and len(stores.acknowledged) >= moments[kills]:
            one.kill()
            one.start()
            kills += 1
        time.sleep(0.01)
    while not follower.poll():
        pass
    assert kills == KILLS, 'the stores ended before the last kill'
    assert not stores.problems

    one.kill()
    one.start()  # the sweep at the start removes what the kills left
    listed = set(requests.get(one.url + '/instances').json())
    assert listed == set(stores.acknowledged)
    statistics = requests.get(one.url + '/statistics').json()
    studies = -(-STORES // PER_STUDY)
    assert (statistics['CountInstances'], statistics['CountStudies']) == (STORES, studies)
    for identifier, digest in stores.acknowledged.items():
        body = requests.get('%s/instances/%s/file' % (one.url, identifier)).content
        assert hashlib.md5(body).hexdigest() == digest
    end = time.monotonic() + 10
    while len(one.blobs()) != STORES and time.monotonic() < end:
        time.sleep(0.1)
    assert len(one.blobs()) == STORES
    assert follower.went_back == 0
    assert (follower.count('NewInstance'), follower.count('NewStudy')) == (STORES, studies)
