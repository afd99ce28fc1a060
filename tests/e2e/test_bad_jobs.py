"""Bad input around jobs: a clear error or a visible Failure with its reason, and other jobs go on."""
import uuid

import pytest
from dicom import dicom_bytes, instance
from jobs import act, create, success, wait_for_state


@pytest.fixture
def stored(server):
    return server.upload(dicom_bytes(instance()))


def refused(answer, *words):
    assert answer.status_code == 400, answer.text
    error = answer.json()
    assert error['OrthancStatus'] and all(word in error['Details'] for word in words), error


def test_wrong_types_are_named_and_make_no_job(server, stored, receiver):
    server.request('PUT', '/modalities/node', json=receiver().modality)
    archive = '/studies/%s/archive' % stored['ParentStudy']
    store = '/modalities/node/store'
    for path, base in ((archive, {}), (store, {'Resources': [stored['ID']]})):
        for name, values in [('Asynchronous', (1, 'x', None, [])), ('Synchronous', (0, 'true')),
                             ('Priority', ('x', 1.5, 2**31, -2**31 - 1, 1e300, None, [1], 2**70))]:
            for value in values:
                refused(server.post(path, None, json={**base, name: value}), name)
    for name, values in [('Permissive', (1,)), ('Timeout', ('x', -1, 1.5)), ('Port', (0.5, 'x', 70000, -1)), ('LocalAet', (5,)),
                         ('MoveOriginatorID', (65536, 'x')), ('StorageCommitment', ('x',))]:
        for value in values:
            refused(server.post(store, None, json={'Resources': [stored['ID']], name: value}), name)
    for name, values in [('Filename', (5,)), ('Utf8', ('x',)), ('Transcode', (1,)), ('LossyQuality', ('x', 256, -1))]:
        for value in values:
            refused(server.post(archive, None, json={name: value}), name)
    for body in ('', 'junk', '{', '5', '{}', '{"Resources": 5}', '{"Resources": [5]}', '{"Resources": {}}', '"x"', '[[]]', '\0'):
        assert server.post(store, body).status_code in (400, 404), body
        assert server.post('/tools/create-archive', body).status_code in (400, 404), body
    assert server.json('/jobs') == []


@pytest.mark.parametrize('priority', [2**31 - 1, -2**31, 0])
def test_extreme_priorities_are_kept(server, stored, priority):
    made = create(server, '/studies/%s/archive' % stored['ParentStudy'], Priority=priority)
    assert success(server, made)['Priority'] == priority


def test_ten_megabytes_of_user_data(server, stored):
    archive = '/studies/%s/archive' % stored['ParentStudy']
    text = 'x\0é"' * (10 << 18)
    answer = server.post(archive, None, json={'Asynchronous': True, 'UserData': text})
    made = []
    if answer.status_code == 200:
        made.append(answer.json()['ID'])
        assert success(server, made[0])['UserData'] == text
        assert [one['UserData'] for one in server.json('/jobs?expand')] == [text]
    else:
        assert answer.status_code == 413 and answer.json()['Details']
    made.append(create(server, archive))
    success(server, made[-1])
    assert server.json('/jobs') == sorted(made)


def test_ids_that_are_no_uuids(server):
    for bad in ('nope', '%00', '..%2f', 'x' * 3000, '%22', uuid.uuid4().hex + '0', '{%s}' % uuid.uuid4()):
        path = '/jobs/' + bad
        assert server.get(path).status_code == 404, bad
        for action in ('cancel', 'pause', 'resume', 'resubmit'):
            answer = server.post('%s/%s' % (path, action), '{}')
            assert answer.status_code == 400 and answer.content == b'', (bad, action)
        for answer in (server.delete(path), server.get(path + '/archive'), server.delete(path + '/archive')):
            assert answer.status_code == 404 and answer.json()['OrthancStatus'] == 7, bad
    assert server.get('/jobs/%c3%28').status_code == 400, 'no UTF-8'
    for odd in ('PUT', 'PATCH'):
        assert server.request(odd, '/jobs/%s' % uuid.uuid4()).status_code == 405


def test_what_does_not_exist_makes_no_job(server, stored, receiver):
    server.request('PUT', '/modalities/node', json=receiver().modality)
    missing = '-'.join(['0' * 8] * 5)
    for path, body in [('/modalities/nobody/store', [stored['ID']]), ('/modalities/node/store', [missing]),
                       ('/modalities/node/store', [stored['ID'], missing]), ('/tools/create-archive', [missing]),
                       ('/studies/%s/archive' % missing, {}), ('/studies/nope/archive', {}), ('/modalities/node/store', ['nope'])]:
        answer = server.post(path, None, json=body if isinstance(body, dict) else {'Resources': body, 'Asynchronous': True})
        assert answer.status_code in (400, 404) and answer.json()['Details'], path
    assert server.json('/jobs') == []


def test_what_is_deleted_while_its_job_waits(server, stored, receiver):
    """The job fails with its reason, and the ones beside it succeed."""
    # Longer than a process may take to hear that its job is to pause.
    node = receiver(delay=3)
    for name in ('node', 'goes'):
        server.request('PUT', '/modalities/' + name, json=node.modality)
    other = server.upload(dicom_bytes(instance()))
    lost, unknown = (create(server, '/modalities/%s/store' % name, Resources=[stored['ID'], other['ID']]) for name in ('node', 'goes'))
    for one in (lost, unknown):
        wait_for_state(server, one, 'Running')
        assert act(server, one, 'pause') == 200
    for one in (lost, unknown):
        wait_for_state(server, one, 'Paused')
    server.delete('/instances/' + other['ID'])
    server.delete('/modalities/goes')
    good = create(server, '/studies/%s/archive' % stored['ParentStudy'])
    for one in (lost, unknown):
        assert act(server, one, 'resume') == 200
    failed = wait_for_state(server, lost, 'Failure')
    assert other['ID'] in failed['ErrorDetails'], failed
    failed = wait_for_state(server, unknown, 'Failure')
    assert 'goes' in failed['ErrorDetails'], failed
    success(server, good)
