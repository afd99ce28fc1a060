"""Storing through both doors, finding, downloading, deleting; and what is left on the disk."""
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from client import Client
from dicom import ImplicitVRLittleEndian, dcmsend, dicom_bytes, echoscu, files, instance, storescu
from pydicom import dcmread
from pydicom.uid import generate_uid


def test_c_echo(server):
    assert echoscu(server).returncode == 0


def test_the_root_page(server):
    page = server.get('/')
    assert page.status_code == 200 and 'text/html' in page.headers['Content-Type']


def test_post_instances_and_read_back(server):
    body = dicom_bytes(instance())
    stored = server.upload(body)
    assert stored['Status'] == 'Success' and stored['Path'] == '/instances/' + stored['ID']
    assert server.json('/instances') == [stored['ID']]
    assert server.json('/patients') == [stored['ParentPatient']]
    assert server.get('/instances/%s/file' % stored['ID']).content == body
    tags = server.json('/instances/%s/simplified-tags' % stored['ID'])
    assert tags['PatientName'] == 'Doe^Jane' and tags['Modality'] == 'CT'
    study = server.json('/studies/' + stored['ParentStudy'])
    assert study['MainDicomTags']['StudyDescription'] == 'Head' and study['Series'] == [stored['ParentSeries']]
    assert server.upload(body)['Status'] == 'AlreadyStored'
    assert server.json('/statistics')['CountInstances'] == 1


@pytest.mark.parametrize('send', [storescu, dcmsend])
def test_c_store_keeps_the_data_set(server, tmp_path, send):
    study, series = generate_uid(), generate_uid()
    sent = [instance(study, series, InstanceNumber=n) for n in range(10)]
    sent += [instance(study, syntax=ImplicitVRLittleEndian, InstanceNumber=99)]
    paths = files(tmp_path / 'sent', sent)
    done = send(server, paths)
    assert done.returncode == 0, done.stdout
    ids = server.json('/instances')
    assert len(ids) == len(sent) and len(server.json('/studies')) == 1 and len(server.json('/series')) == 2
    received = {}
    for one in ids:
        path = tmp_path / 'received.dcm'
        path.write_bytes(server.get('/instances/%s/file' % one).content)
        ds = dcmread(path)
        received[ds.SOPInstanceUID] = ds
    for ds in sent:
        got = received[ds.SOPInstanceUID]
        assert got == ds and got.PixelData == ds.PixelData
    origin = server.json('/instances/%s/metadata?expand' % ids[0])
    assert origin['Origin'] == 'DicomProtocol' and origin['CalledAET'] == server.aet


def test_find(server):
    for name, accession in [('Alpha^A', 'A1'), ('Beta^B', 'A2'), ('Gamma^C', 'B1')]:
        server.upload(dicom_bytes(instance(PatientID=name, PatientName=name, AccessionNumber=accession)))
    for query, count in [({'AccessionNumber': 'A*'}, 2), ({'PatientName': 'beta*'}, 1), ({'PatientName': '*x*'}, 0), ({}, 3)]:
        found = server.post('/tools/find', None, json={'Level': 'Study', 'Query': query}).json()
        assert len(found) == count, query


def test_delete_leaves_nothing(server):
    study = generate_uid()
    a, b = (server.upload(dicom_bytes(instance(study))) for _ in range(2))
    node = server.nodes[0]
    assert len(node.blobs()) == 2
    answer = server.delete('/series/' + a['ParentSeries'])
    assert answer.status_code == 200 and answer.json()['RemainingAncestor']['ID'] == a['ParentStudy']
    assert server.get('/instances/' + a['ID']).status_code == 404
    assert server.get('/instances/%s/file' % a['ID']).status_code == 404
    assert server.json('/instances') == [b['ID']]
    assert server.delete('/patients/' + b['ParentPatient']).json()['RemainingAncestor'] is None
    assert server.json('/patients') == [] and server.json('/studies') == []
    node.stop()
    assert node.blobs() == []
    folders = [p for p in node.storage.rglob('*') if p.is_dir()]
    assert folders == [], 'empty folders stay behind'


def test_changes_come_in_order(server):
    stored = server.upload(dicom_bytes(instance()))
    changes = server.changes()
    assert [c['ChangeType'] for c in changes[:4]] == ['NewInstance', 'NewSeries', 'NewStudy', 'NewPatient']
    assert [c['Seq'] for c in changes] == sorted({c['Seq'] for c in changes})
    assert changes[0]['ID'] == stored['ID'] and changes[0]['ResourceType'] == 'Instance'
    server.delete('/patients/' + stored['ParentPatient'])
    gone = {c['ChangeType'] for c in server.changes()}
    assert 'NewInstance' not in gone, 'changes of what is deleted go with it'


def test_many_at_once(server):
    study = generate_uid()
    bodies = [dicom_bytes(instance(study)) for _ in range(60)]
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda body: Client(server.url, server.dicom_port).upload(body), bodies))
    assert {s['Status'] for s in stored} == {'Success'}
    assert len({s['ParentStudy'] for s in stored}) == 1
    statistics = server.json('/statistics')
    assert (statistics['CountInstances'], statistics['CountSeries'], statistics['CountStudies']) == (60, 60, 1)
    kinds = [c['ChangeType'] for c in server.changes()]
    assert kinds.count('NewInstance') == 60 and kinds.count('NewStudy') == 1 and kinds.count('NewPatient') == 1


def test_the_same_instance_twice_at_once(server):
    body = dicom_bytes(instance())
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda _: Client(server.url, server.dicom_port).upload(body), range(16)))
    assert sorted(s['Status'] for s in stored).count('Success') == 1
    assert server.json('/statistics')['CountInstances'] == 1
    assert len(server.nodes[0].blobs()) == 1


@pytest.mark.parametrize('body', [b'', b'not DICOM', b'\0' * 128 + b'DICM', b'\0' * 1000, dicom_bytes(instance())[:300]])
def test_what_is_no_dicom_is_refused_and_leaves_nothing(server, body):
    answer = server.post('/instances', body)
    assert answer.status_code == 400 and answer.json()['HttpStatus'] == 400
    assert server.json('/instances') == [] and server.nodes[0].blobs() == []


def test_unknown_routes_and_ids(server):
    for path in ['/nope', '/instances/nope', '/studies/' + '0' * 40, '/instances/%2e%2e/file']:
        answer = server.get(path)
        assert answer.status_code == 404, path
    assert server.get('/instances/nope').json()['HttpStatus'] == 404


def test_acknowledged_instances_survive_kill(node):
    one = node().start()
    stored = {}
    with ThreadPoolExecutor(4) as pool:
        def store(body):
            return Client(one.url, one.dicom_port).upload(body)['ID'], body
        for identifier, body in pool.map(store, [dicom_bytes(instance()) for _ in range(20)]):
            stored[identifier] = body
    one.kill()
    client = Client(one.start().url, one.dicom_port)
    assert set(client.json('/instances')) == set(stored)
    for identifier, body in stored.items():
        assert client.get('/instances/%s/file' % identifier).content == body


def test_a_kill_while_storing_leaves_no_orphan(node):
    one = node().start()
    client = Client(one.url, one.dicom_port)
    acknowledged = []

    def store(_):
        try:
            acknowledged.append(Client(one.url, one.dicom_port).upload(dicom_bytes(instance()))['ID'])
        except Exception:  # noqa: BLE001 the server was killed
            pass

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(store, n) for n in range(200)]
        while len(acknowledged) < 40:
            time.sleep(0.01)
        one.kill()
        for future in futures:
            future.result()
    one.start()
    ids = client.json('/instances')
    assert set(acknowledged) <= set(ids)
    for identifier in ids:
        assert client.get('/instances/%s/file' % identifier).status_code == 200
    one.stop()
    assert len(one.blobs()) == len(ids), 'blobs without a row'


def test_storage_is_the_received_bytes(server):
    body = dicom_bytes(instance())
    server.upload(body)
    [blob] = server.nodes[0].blobs()
    assert blob.read_bytes() == body
    parts = blob.relative_to(server.nodes[0].storage).parts
    assert parts[:2] == (blob.name[:2], blob.name[2:4]), os.fspath(blob)
