"""Files that are removed after the answer (`DelayedDeletion`), against one process and against three behind a balancer."""
from concurrent.futures import ThreadPoolExecutor

import pytest
from dicom import dicom_bytes, instance
from jobs import wait_for
from pydicom.uid import generate_uid

STATUS = '/plugins/delayed-deletion/status'


@pytest.mark.config(DelayedDeletion={'Enable': True, 'ThrottleDelayMs': 250})
def test_files_go_one_after_the_other(server):
    study = generate_uid()
    bodies = [dicom_bytes(instance(study)) for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda body: server.upload(body), bodies))
    assert server.json(STATUS) == {'FilesPendingDeletion': 0}
    [patient] = server.json('/patients')
    assert server.delete('/patients/' + patient).status_code == 200
    assert server.json('/statistics')['CountInstances'] == 0
    waiting = server.json(STATUS)['FilesPendingDeletion']
    assert 20 < waiting <= 40 and len(server.nodes[0].blobs()) > 20
    wait_for(lambda: server.json(STATUS)['FilesPendingDeletion'] == 0, 30, 'files to go')
    assert server.nodes[0].blobs() == []


def test_it_is_not_there_unless_enabled(server):
    assert server.get(STATUS).status_code == 404
