"""Jobs behind a round-robin gateway: every process shows, controls and finishes every job.

The first test is the reason for this project: behind a gateway, a job that was created through one server must never be a 404
on another.
"""
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from client import Client
from conftest import client_of
from dicom import dicom_bytes, instance
from jobs import act, create, job, runner, success, wait_for, wait_for_state, zipped
from pydicom.uid import generate_uid

LEASE_SECONDS = 12
RESCUE_SECONDS = 15  # what is promised: from kill -9 to running again elsewhere


@pytest.fixture
def three(cluster):
    """Three processes with room for the history and the archives of the scenario."""
    return client_of(cluster({'JobsHistorySize': 100, 'MediaArchiveSize': 50, 'ConcurrentJobs': 4}).start())


def direct(node):
    """Speaks with one process, past the gateway."""
    return Client(node.url, node.dicom_port, node.aet)


def put_modality(client, name, modality):
    answer = client.request('PUT', '/modalities/' + name, json=modality)
    assert answer.status_code == 200, answer.text


def study_of(client, count):
    """Stores a study through whoever is next, and returns its id and the UIDs of its instances."""
    study, series = generate_uid(), generate_uid()
    instances = [instance(study, series, InstanceNumber=n + 1) for n in range(count)]
    stored = [client.upload(dicom_bytes(one)) for one in instances]
    return stored[0]['ParentStudy'], [str(one.SOPInstanceUID) for one in instances]


def in_the_next_list(client, made):
    """MonitorJob2 of Orthanc's users: the new job is in the very next list, whoever answers."""
    assert made in client.json('/jobs')
    return made


def test_every_job_is_visible_through_every_process(three, receiver):
    destination = receiver()
    put_modality(three, 'destination', destination.modality)
    study, uids = study_of(three, 10)
    archives, sends, answers = [], [], []
    for _ in range(40):
        archives.append(in_the_next_list(three, create(three, '/studies/%s/archive' % study)))
        answers += [three.get('/jobs/' + archives[-1]).status_code for _ in range(10)]
    for _ in range(10):
        sends.append(in_the_next_list(three, create(three, '/modalities/destination/store', Resources=[study])))
        answers += [three.get('/jobs/' + sends[-1]).status_code for _ in range(10)]
    assert len(answers) >= 400 and set(answers) == {200}
    for made in archives + sends:
        success(three, made)
    lists = [direct(node).json('/jobs') for node in three.nodes]
    assert lists[0] == lists[1] == lists[2] and set(lists[0]) == {*archives, *sends}
    for node in three.nodes:
        for made in archives[::10]:
            assert zipped(direct(node).get('/jobs/%s/archive' % made).content) == 10
    assert destination.counts() == {uid: 10 for uid in uids}


def test_the_end_of_a_job_is_seen_by_the_process_that_did_not_run_it(three):
    """500 tiny jobs in a row would wait for polls: hints between processes must arrive at once, mostly."""
    study, _ = study_of(three, 1)
    times = []
    for _ in range(20):
        begin = time.monotonic()
        success(three, create(three, '/studies/%s/archive' % study))
        times.append(time.monotonic() - begin)
    assert sorted(times)[10] < 1, times


def test_synchronous_requests_through_the_gateway(three, receiver):
    destination = receiver()
    put_modality(three, 'destination', destination.modality)
    study, uids = study_of(three, 5)
    answer = three.post('/modalities/destination/store', None, json={'Resources': [study], 'Synchronous': True})
    assert answer.status_code == 200 and answer.json()['InstancesCount'] == 5 and destination.counts() == {u: 1 for u in uids}
    for _ in range(3):
        assert zipped(three.get('/studies/%s/archive' % study).content) == 5
    refused = three.post('/modalities/nobody/store', None, json={'Resources': [study]})
    assert refused.status_code == 404 and refused.json()['HttpStatus'] == 404


def test_control_through_a_process_that_does_not_run_the_job(three, receiver):
    destination = receiver(delay=0.2)
    put_modality(three, 'destination', destination.modality)
    study, uids = study_of(three, 40)
    made = create(three, '/modalities/destination/store', Resources=[study])
    wait_for(lambda: len(destination.arrivals) >= 2, what='an arrival')
    running = wait_for(lambda: runner(three), what='running')
    other = direct(next(node for node in three.nodes if node is not running))

    assert act(other, made, 'pause') == 200
    wait_for_state(other, made, 'Paused', seconds=5)
    paused_at = len(destination.arrivals)
    assert act(other, made, 'resubmit') == 400 and other.get('/jobs/' + made).status_code == 200
    time.sleep(1)
    assert len(destination.arrivals) <= paused_at + 1, 'it goes on although it is paused'

    assert act(other, made, 'resume') == 200
    wait_for(lambda: len(destination.arrivals) >= paused_at + 3, what='an arrival after resume')
    assert max(destination.counts().values()) <= 2, 'resume goes on where it was'
    assert act(other, made, 'cancel') == 200
    failed = wait_for_state(other, made, 'Failure', seconds=5)
    assert failed['ErrorCode'] == 37 and 0 < failed['Progress'] < 100

    destination.delay = 0
    assert act(other, made, 'resubmit') == 200
    assert success(three, made)['Progress'] == 100
    assert set(destination.counts()) == set(uids)
    assert act(other, made, 'resume') == 400 and act(other, 'nonsense', 'cancel') == 400


def test_cancel_reaches_a_send_to_a_receiver_that_stopped_reading(three, receiver):
    destination = receiver()
    destination.stop_answering()
    put_modality(three, 'destination', destination.modality)
    study, _ = study_of(three, 3)
    made = create(three, '/modalities/destination/store', Resources=[study], Timeout=0)
    wait_for(lambda: destination.arrivals, what='the first arrival')
    running = wait_for(lambda: runner(three), what='running')
    other = direct(next(node for node in three.nodes if node is not running))
    begin = time.monotonic()
    assert act(other, made, 'cancel') == 200
    assert wait_for_state(other, made, 'Failure', seconds=3)['ErrorCode'] == 37
    assert time.monotonic() - begin < 3, 'three times the second that is promised'
    destination.go_on()
    time.sleep(0.5)
    assert len(destination.arrivals) == 1, 'the connection is gone'


def test_a_destination_that_stops_reading_costs_its_timeout_and_nobody_else(three, receiver):
    healthy, stalled = receiver(), receiver(aet='STALLED', reads_bytes=1 << 20)
    put_modality(three, 'healthy', healthy.modality)
    put_modality(three, 'stalled', stalled.modality)
    study, series = generate_uid(), generate_uid()
    large = [three.upload(dicom_bytes(instance(study, series, 2048, InstanceNumber=n))) for n in range(3)]
    parent = large[0]['ParentStudy']
    late = create(three, '/modalities/stalled/store', Resources=[parent], Timeout=3)
    stuck = create(three, '/modalities/stalled/store', Resources=[parent], Timeout=0)
    wait_for(lambda: len(stalled.stuck) == 2, what='two sends that are stuck')
    success(three, create(three, '/modalities/healthy/store', Resources=[parent]))
    assert len(healthy.counts()) == 3
    failed = wait_for_state(three, late, 'Failure')
    assert failed['ErrorCode'] > 0 and 'STALLED' in failed['ErrorDetails'], failed
    assert not stalled.arrivals
    assert job(three, stuck)['State'] == 'Running'
    assert act(three, stuck, 'cancel') == 200
    assert wait_for_state(three, stuck, 'Failure', seconds=5)['ErrorCode'] == 37


def test_unreachable_and_refusing_destinations_are_failures_with_a_reason(three, receiver):
    refusing = receiver(status=0xA700)
    gone = receiver()
    gone.end()
    study, _ = study_of(three, 2)
    for name, modality in [('refusing', refusing.modality), ('gone', gone.modality)]:
        put_modality(three, name, modality)
        made = create(three, '/modalities/%s/store' % name, Resources=[study])
        failed = wait_for_state(three, made, 'Failure')
        assert failed['ErrorCode'] not in (0, 37) and failed['ErrorDetails'], failed
        assert three.post('/modalities/%s/store' % name, None, json={'Resources': [study]}).status_code == 500


def test_a_send_goes_on_elsewhere_after_kill_9(three, receiver):
    destination = receiver(delay=0.5)
    put_modality(three, 'destination', destination.modality)
    study, uids = study_of(three, 60)
    made = create(three, '/modalities/destination/store', Resources=[study])
    wait_for(lambda: len(destination.arrivals) >= 6, what='six arrivals')
    victim = wait_for(lambda: runner(three), what='running')
    victim.kill()
    killed, before = time.monotonic(), len(destination.arrivals)
    wait_for(lambda: len(destination.arrivals) > before + 1, seconds=RESCUE_SECONDS, what='the next arrival after the kill')
    assert destination.arrivals[before + 1][0] - killed < RESCUE_SECONDS
    # The list never loses it, whoever answers.
    assert {three.get('/jobs/' + made).status_code for _ in range(6)} == {200}
    assert success(three, made, seconds=60)['Content']['FailedInstancesCount'] == 0
    counts = destination.counts()
    assert set(counts) == set(uids)
    assert sum(n - 1 for n in counts.values()) <= 3, 'instances that arrived twice'


def test_a_finished_archive_survives_its_maker(three):
    study, _ = study_of(three, 5)
    archives = [create(three, '/studies/%s/archive' % study) for _ in range(6)]
    for made in archives:
        success(three, made)
    for victim in three.nodes[:2]:  # whoever made them: one process is left
        victim.kill()
    for made in archives:
        assert zipped(three.get('/jobs/%s/archive' % made).content) == 5
        assert job(three, made)['State'] == 'Success'


def test_a_process_that_slept_beyond_its_lease_changes_nothing_any_more(three, receiver):
    destination = receiver(delay=0.3)
    put_modality(three, 'destination', destination.modality)
    study, uids = study_of(three, 60)
    made = create(three, '/modalities/destination/store', Resources=[study])
    wait_for(lambda: len(destination.arrivals) >= 4, what='four arrivals')
    sleeper = wait_for(lambda: runner(three), what='running')
    other = direct(next(node for node in three.nodes if node is not sleeper))
    sleeper.freeze()
    at = len(destination.arrivals)
    wait_for(lambda: len(destination.arrivals) >= at + 4, seconds=LEASE_SECONDS + 8, what='going on elsewhere')
    epoch_now = job(other, made)
    assert epoch_now['State'] == 'Running'
    sleeper.thaw()
    found = success(other, made, seconds=60)
    counts = destination.counts()
    assert set(counts) == set(uids)
    assert sum(n - 1 for n in counts.values()) <= 4, 'the sleeper sent at most what it had in hand'
    # It lives, joins again, and its late news did not reopen the job.
    wait_for(lambda: len([n for n in other.json('/cluster/nodes') if n['Alive']]) == 3, what='three live processes')
    time.sleep(2)
    assert job(direct(sleeper), made)['CompletionTime'] == found['CompletionTime']
    success(direct(sleeper), create(direct(sleeper), '/studies/%s/archive' % study))


def test_archives_under_way_survive_kill_9(three):
    study, _ = study_of(three, 60)
    with ThreadPoolExecutor(4) as pool:
        archives = list(pool.map(lambda _: create(Client(three.url, three.dicom_port), '/studies/%s/archive' % study), range(16)))
    three.nodes[0].kill()
    three.nodes[0].start()
    for made in archives:
        success(three, made, seconds=60)
        assert zipped(three.get('/jobs/%s/archive' % made).content) == 60


def test_history_and_outputs_are_counted_for_the_whole_cluster(cluster):
    client = client_of(cluster({'JobsHistorySize': 5, 'MediaArchiveSize': 1}).start())
    study, _ = study_of(client, 1)
    made = []
    for _ in range(8):
        made.append(create(client, '/studies/%s/archive' % study))
        success(client, made[-1])
    wait_for(lambda: set(client.json('/jobs')) == set(made[3:]), what='a history of five')
    answers = {m: {direct(node).get('/jobs/%s/archive' % m).status_code for node in client.nodes} for m in made[3:]}
    assert answers == {**{m: {404} for m in made[3:-1]}, made[-1]: {200}}


def test_a_process_that_runs_no_jobs_still_takes_requests(cluster):
    made_of = cluster()
    made_of.nodes[0].config['RunJobs'] = False
    client = client_of(made_of.start())
    quiet = direct(made_of.nodes[0])
    study, _ = study_of(client, 1)
    success(quiet, create(quiet, '/studies/%s/archive' % study))
    for node in made_of.nodes[1:]:
        node.kill()
    waiting = create(quiet, '/studies/%s/archive' % study)
    time.sleep(2)
    assert job(quiet, waiting)['State'] == 'Pending'
    made_of.nodes[1].start()
    success(quiet, waiting)


def test_jobs_with_damaged_rows_fail_and_say_why(three, database):
    expected = {}
    for kind, version, arguments, content, code, words in [
        ('Archive', 1, 'garbage', '{}', 11, 'damaged'),
        ('Archive', 1, '{"resources": 7}', '{}', 28, 'integer'),
        ('Archive', 1, '{}', 'garbage', 28, 'resources'),
        ('Archive', 99, '{}', '{}', 2, 'version 99'),
        ('DicomModalityStore', 1, '[]', '[]', 28, 'DicomModalityStore'),
    ]:
        expected[insert_job(database, kind, version, arguments, content)] = code, words
    for made, (code, words) in expected.items():
        failed = wait_for_state(three, made, 'Failure')
        assert failed['ErrorCode'] == code and words in failed['ErrorDetails'], failed
    assert_others_run(three, set(expected))


@pytest.mark.parametrize('kind, version, reason', [('Unheard', 1, 'Unheard'), ('Archive:99', 99, 'version 99 of jobs of type "Archive"')])
def test_a_job_of_a_kind_that_nobody_runs_waits_and_says_why(three, database, kind, version, reason):
    made = insert_job(database, kind, version, '{}', '{}')
    for _ in three.nodes:
        waiting = job(three, made)
        assert waiting['State'] == 'Pending' and reason in waiting['Cluster']['Blocked'], waiting
        assert waiting['Type'] == kind.split(':')[0]
    assert_others_run(three, {made})
    assert act(three, made, 'cancel') == 200
    assert 'Cluster' not in wait_for_state(three, made, 'Failure')


def test_a_job_waits_for_a_process_that_runs_jobs_and_says_so(cluster):
    made_of = cluster({'RunJobs': False})
    del made_of.nodes[2].config['RunJobs']
    client = client_of(made_of.start())
    study, _ = study_of(client, 2)
    made_of.nodes[2].stop()
    made = create(client, '/studies/%s/archive' % study)
    assert 'Archive' in wait_for(lambda: job(client, made).get('Cluster'), what='a reason')['Blocked']
    made_of.nodes[2].start()
    assert 'Cluster' not in success(client, made)


def insert_job(database, kind, version, arguments, content):
    """A job as a later release, or an accident, may have left it."""
    made = str(uuid.uuid4())
    database.sql(
        "INSERT INTO pleiad.job (id, created_at, priority, version, kind, arguments, content)"
        " VALUES ('%s', %d, 100, %d, '%s', '%s', '%s')" % (made, time.time() * 1e6, version, kind, arguments, content))
    return made


def assert_others_run(three, damaged):
    """The list is whole, and jobs of less priority run everywhere."""
    study, _ = study_of(three, 2)
    for made in [create(three, '/studies/%s/archive' % study) for _ in range(6)]:
        success(three, made)
        listed = {one['ID'] for one in three.json('/jobs?expand')}
        assert damaged | {made} <= listed
