"""What Pleiad adds to Orthanc's `/jobs`: pages, waiting, priorities, steps, the process that runs a job, keys for creation."""
import threading
import time
import uuid

import pytest
from dicom import dicom_bytes, instance
from jobs import act, create, job, success, wait_for, wait_for_state
from pydicom.uid import generate_uid

OLD_FIELDS = {'Content', 'CreationTime', 'EffectiveRuntime', 'ErrorCode', 'ErrorDescription', 'ErrorDetails', 'ID', 'Priority', 'Progress',
              'State', 'Timestamp', 'Type', 'CompletionTime'}


@pytest.fixture
def study(server):
    """Three instances of one series."""
    uids = {'study': generate_uid(), 'series': generate_uid()}
    stored = [server.upload(dicom_bytes(instance(InstanceNumber=n, **uids))) for n in (1, 2, 3)]
    return {'ID': stored[0]['ParentStudy'], 'instances': [one['ID'] for one in stored]}


@pytest.fixture
def slow(server, receiver):
    """A modality that takes its time."""
    made = receiver(delay=0.3)
    server.request('PUT', '/modalities/slow', json=made.modality)
    return made


@pytest.mark.config(JobsHistorySize=100)
def test_pages(server, study):
    made = [create(server, '/studies/%s/archive' % study['ID'], Priority=n) for n in range(7)]
    for one in made:
        success(server, one)
    path = '/jobs?type=Archive&state=Success,Failure&limit=3'
    seen = server.json(path)
    while page := server.json(path + '&since=' + seen[-1]):
        seen += page
    assert seen == made
    assert server.json('/jobs?sort=-created&limit=2') == made[:-3:-1]
    assert [one['ID'] for one in server.json('/jobs?expand&sort=created')] == made
    assert server.json('/jobs?state=Pending') == server.json('/jobs?type=Nope') == []
    assert server.json('/jobs') == sorted(made), 'the list of Orthanc is as it was'
    for bad, word in [('state=Canceled', 'Canceled'), ('limit=0', 'limit'), ('limit=1001', '1000'), ('limit=x', 'limit'),
                      ('since=x', 'since'), ('sort=ID', 'sort'), ('limit=-1', 'limit')]:
        answer = server.get('/jobs?' + bad)
        assert answer.status_code == 400 and word in answer.json()['Details'], bad
    assert server.get('/jobs?since=%s' % uuid.uuid4()).status_code == 404


def test_waiting(server, study, slow):
    made = create(server, '/modalities/slow/store', Resources=[study['ID']])
    answers = []
    waiters = [threading.Thread(target=lambda: answers.append(server.json('/jobs/%s/wait?timeout=30' % made))) for _ in range(6)]
    for one in waiters:
        one.start()
    assert server.json('/jobs/%s/wait?timeout=0' % made)['State'] in ('Pending', 'Running')
    for one in waiters:
        one.join()
    assert [one['State'] for one in answers] == ['Success'] * 6
    begin = time.monotonic()
    assert server.json('/jobs/%s/wait' % made)['ID'] == made
    assert time.monotonic() - begin < 9, 'an ended job needs no waiting'
    for unknown in (uuid.uuid4(), 'nope'):
        answer = server.get('/jobs/%s/wait' % unknown)
        assert answer.status_code == 404 and answer.content == b''
    for bad in ('x', '-1', '61', 'NaN', 'inf', '1e300'):
        answer = server.get('/jobs/%s/wait?timeout=%s' % (made, bad))
        assert answer.status_code == 400 and 'timeout' in answer.json()['Details']


@pytest.mark.config(ConcurrentJobs=1)
def test_priorities_of_waiting_jobs(server, study, receiver):
    blocked = receiver()
    blocked.stop_answering()
    server.request('PUT', '/modalities/blocked', json=blocked.modality)
    processes = len(server.nodes)
    running = [create(server, '/modalities/blocked/store', Resources=study['instances'][:1], Timeout=0) for _ in range(processes)]
    for one in running:
        wait_for_state(server, one, 'Running')
    first, second = (create(server, '/studies/%s/archive' % study['ID']) for _ in range(2))
    for number in (' 5\n', '-2147483648', '2147483647'):
        assert server.post('/jobs/%s/priority' % second, number).json() == {}
        assert job(server, second)['Priority'] == int(number)
    assert (job(server, first)['State'], job(server, second)['State']) == ('Pending', 'Pending')
    for bad in ('', 'x', '1.5', '2147483648', '-2147483649', '{}'):
        answer = server.post('/jobs/%s/priority' % second, bad)
        assert answer.status_code == 400 and 'priority' in answer.json()['Details']
    blocked.go_on()
    success(server, first), success(server, second)
    for refused in (second, uuid.uuid4(), 'nope'):
        answer = server.post('/jobs/%s/priority' % refused, '1')
        assert answer.status_code == 400 and answer.content == b''
    assert server.get('/jobs/%s/priority' % second).status_code == 404


def test_steps_are_the_proof_of_delivery(server, study, receiver):
    server.request('PUT', '/modalities/good', json=receiver().modality)
    server.request('PUT', '/modalities/full', json=receiver(status=0xA700).modality)
    sent = create(server, '/modalities/good/store', Resources=[study['ID']])
    success(server, sent)
    steps = server.json('/jobs/%s/steps' % sent)
    assert [step['Position'] for step in steps] == [0, 1, 2]
    assert [step['Instance'] for step in steps] == study['instances']
    assert all(step['Status'] == 0 and step['Time'] and 'Failed' not in step for step in steps)
    assert server.json('/jobs/%s/steps?since=1&limit=1' % sent) == steps[1:2]

    lenient = create(server, '/modalities/full/store', Resources=[study['ID']], Permissive=True)
    success(server, lenient)
    steps = server.json('/jobs/%s/steps' % lenient)
    assert len(steps) == 3 and all(step['Status'] == 0xA700 and '0xA700' in step['Failed'] for step in steps)
    strict = create(server, '/modalities/full/store', Resources=[study['ID']])
    wait_for_state(server, strict, 'Failure')
    assert server.json('/jobs/%s/steps' % strict) == []
    for unknown in (uuid.uuid4(), 'nope'):
        answer = server.get('/jobs/%s/steps' % unknown)
        assert answer.status_code == 404 and answer.content == b''
    assert server.get('/jobs/%s/steps?since=-1' % sent).status_code == 400
    server.delete('/jobs/' + sent)
    assert server.get('/jobs/%s/steps' % sent).status_code == 404


def test_who_runs_a_job(server, study, slow):
    made = create(server, '/modalities/slow/store', Resources=[study['ID']])
    wait_for_state(server, made, 'Running')
    cluster = server.json('/jobs/%s?cluster' % made)['Cluster']
    assert cluster['Owner'] in [node['ID'] for node in server.json('/cluster/nodes')]
    assert cluster == {'Attempt': 1, 'Blocked': None, 'Crashes': 0, 'Owner': cluster['Owner']}
    done = server.json('/jobs/%s/wait?cluster' % made)
    assert done['Cluster'] == {'Attempt': 1, 'Blocked': None, 'Crashes': 0, 'Owner': None}
    assert set(job(server, made)) == OLD_FIELDS
    assert [set(one) for one in server.json('/jobs?expand')] == [OLD_FIELDS]
    assert 'Cluster' in server.json('/jobs?expand&cluster')[0]


def stored_uid(server, stored, level):
    path = {'Study': '/studies/', 'Series': '/series/'}[level] + stored['Parent' + level]
    return server.json(path)['MainDicomTags'][level + 'InstanceUID']


@pytest.mark.config(AuthenticationEnabled=True, RegisteredUsers={'alice': 'a', 'bob': 'b'})
def test_a_request_that_is_repeated_makes_one_job(server, receiver):
    server.session.auth = ('alice', 'a')
    stored = server.upload(dicom_bytes(instance()))
    node = receiver()
    server.request('PUT', '/modalities/node', json=node.modality)

    def ask(path, key, **arguments):
        return server.post(path, None, headers={'Idempotency-Key': key}, **arguments)

    archive, body = '/studies/%s/archive' % stored['ParentStudy'], {'Asynchronous': True}
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(archive, 'k1', json=body).json())) for _ in range(9)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len({one['ID'] for one in answers}) == 1 and server.json('/jobs') == [answers[0]['ID']]
    success(server, answers[0]['ID'])
    assert ask(archive, 'k1', json=body).json() == answers[0], 'also when it has ended'
    other = ask(archive, 'k1', json=body, auth=('bob', 'b')).json()
    assert other['ID'] != answers[0]['ID'], 'keys belong to users'
    assert ask(archive, 'k2', json=body).json()['ID'] not in (other['ID'], answers[0]['ID'])

    store = {'Resources': [stored['ID']]}
    first = ask('/modalities/node/store', 'k3', json=store)
    assert first.status_code == 200 and ask('/modalities/node/store', 'k3', json=store).json() == first.json()
    assert len(node.arrivals) == 1, 'the repeated request was told the first end'
    wrong = ask('/modalities/node/store', 'k1', json=store)
    assert wrong.status_code == 409 and answers[0]['ID'] in wrong.json()['Details']
    for other in ({**body, 'Filename': 'other.zip'}, {**body, 'UserData': 'x'}, {**body, 'Utf8': True}):
        wrong = ask(archive, 'k1', json=other)
        assert wrong.status_code == 409 and answers[0]['ID'] in wrong.json()['Details'], other
    assert ask('/modalities/node/store', 'k3', json={**store, 'Permissive': True}).status_code == 409
    assert ask('/modalities/node/store', 'k3', json={'Resources': [stored['ParentStudy']]}).status_code == 409
    # What the server looked up is not what the client asked for: here, the instances of a study that grew.
    study = {'Resources': [stored['ParentStudy']]}
    first = ask('/modalities/node/store', 'k4', json=study).json()
    uids = {'study': stored_uid(server, stored, 'Study'), 'series': stored_uid(server, stored, 'Series')}
    server.upload(dicom_bytes(instance(**uids)))
    assert ask('/modalities/node/store', 'k4', json=study).json() == first
    for bad in ('', 'x' * 256):
        answer = ask(archive, bad, json=body)
        assert answer.status_code == 400 and 'Idempotency-Key' in answer.json()['Details']
    # The key is forgotten with its job.
    server.delete('/jobs/' + answers[0]['ID'])
    assert ask(archive, 'k1', json=body).json()['ID'] != answers[0]['ID']


def test_a_paused_job_does_not_end_a_wait(server, study, slow):
    made = create(server, '/modalities/slow/store', Resources=[study['ID']])
    assert act(server, made, 'pause') == 200
    wait_for(lambda: job(server, made)['State'] == 'Paused', what='the pause')
    waiting = []
    thread = threading.Thread(target=lambda: waiting.append(server.json('/jobs/%s/wait?timeout=60' % made)))
    thread.start()
    assert act(server, made, 'resume') == 200
    thread.join()
    assert waiting[0]['State'] == 'Success'
