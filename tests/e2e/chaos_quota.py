"""A quota under all kinds of faults: `make chaos SECONDS=60 PROFILE=recycle` (or `reject`).

Each study is a patient of its own, and there may be few. The rule is checked all the time: never more patients than allowed, protected ones stay, and
with `reject` everything that was acknowledged and not deleted.
"""
import os
import random
import threading
import time

import pytest
import requests
from chaos_checks import check_blobs, check_jobs, check_sums
from chaos_load import Executioner, Load, Study, orthanc_id
from conftest import client_of
from dicom import dicom_bytes, instance
from jobs import wait_for
from pydicom.uid import generate_uid
from test_chaos_mixed import CONFIG, SEED, database, disk, play, restart, world  # noqa: F401 (fixtures)

PROFILE = os.environ.get('CHAOS_PROFILE', 'recycle')
MOST, SAFE = 15, 6


class Tenants(Load):
    """Clients that store patients, protect and delete them."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.safe, self.sent, self.gate = [], {}, threading.Lock()

    def begin(self):
        self.put_modality('poison', self.poison.modality)
        self.protect()
        [self.first] = self.safe
        for work, count in [(self.store, 3), (self.protect, 1), (self.remove, 1), (self.watch, 2)]:
            for _ in range(count):
                self.start(work)

    def patient(self):
        """Stores the instances of a new patient; those that are acknowledged count."""
        name, study, series = 'P%d' % self.count('patients'), generate_uid(), generate_uid()
        instances = [instance(study, series, PatientID=name, InstanceNumber=n + 1) for n in range(self.choose(range(3, 8)))]
        acknowledged = {}
        for one in instances:
            body, identifier = dicom_bytes(one), orthanc_id(one)
            self.sent[identifier] = body
            if self.ask('POST', '/instances', good=(200, 507), data=body).status_code == 200:
                acknowledged[identifier] = body
            self.count('instances stored' if identifier in acknowledged else 'instances refused')
        return Study(orthanc_id(instances[0], 1), acknowledged, [], 'REST'), len(acknowledged) == len(instances)

    def store(self):
        patient, _ = self.patient()
        if patient.sent:
            with self.gate:
                self.studies.append(patient)

    def protect(self):
        """A patient that is protected, and was there behind that, stays."""
        if len(self.safe) < SAFE:
            patient, whole = self.patient()
            if whole and self.ask('PUT', '/patients/%s/protected' % patient.identifier, good=(200, 404), data='1').ok:
                self.safe.append(patient)
                self.count('patients protected')
        time.sleep(0.5)

    def remove(self):
        with self.gate:
            patient = self.studies.pop(0) if len(self.studies) > MOST / 3 else None
        if patient:
            self.ask('DELETE', '/patients/%s' % patient.identifier, good=(200, 404))
            self.count('patients deleted')
        time.sleep(0.3)

    def watch(self):
        count = self.ask('GET', '/statistics').json()['CountPatients']
        assert count <= MOST, '%d patients' % count
        self.ask('GET', '/instances/%s' % self.choose(list(self.choose(self.safe).sent)))
        self.count('looks')
        time.sleep(0.05)


@pytest.fixture
def config():
    mode = {'recycle': 'Recycle', 'reject': 'Reject'}[PROFILE]
    return {**CONFIG, 'MaximumPatientCount': MOST, 'MaximumStorageMode': mode}


@pytest.fixture
def load(world, tmp_path):  # noqa: F811
    load = Tenants(client_of(world), SEED, tmp_path / 'sent')
    load.poison = world.poison = Executioner(world, load)
    yield load
    load.close()


def test_a_quota_holds_whatever_fails(world, load, capsys):  # noqa: F811
    states = play(world, load, random.Random(SEED), capsys)
    assert load.done['patients protected'] > 1
    check_jobs(load, states, world.database)
    kept = load.safe + (load.studies if PROFILE == 'reject' else [])
    for node in world.nodes:
        listed = set(requests.get(node.url + '/instances').json())
        lost = {identifier for patient in kept for identifier in patient.sent} - listed
        assert not lost, (node.config['Name'], len(lost), sorted(lost)[:3])
        assert len(requests.get(node.url + '/patients').json()) <= MOST
        for identifier in listed:
            assert requests.get('%s/instances/%s/file' % (node.url, identifier)).content == load.sent[identifier]
    wait_for(lambda: world.database.sql('SELECT count(*) FROM pleiad.tombstone') == '0', 60, 'the rows of deleted patients to go')
    check_sums(world.database)
    restart(world)
    check_blobs(world.nodes[0], world.database)
