"""The database goes away and comes back: clear answers meanwhile, nothing lost, no restart of ours needed."""
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from client import Client
from conftest import client_of
from dicom import dicom_bytes, files, instance, storescu
from jobs import create, success, wait_for
from pydicom.uid import generate_uid


@pytest.fixture
def three(cluster):
    return client_of(cluster().start())


def direct(node):
    return Client(node.url, node.dicom_port, node.aet)


def is_away(client):
    """Whether the answer is 503 with Retry-After. Anything else but success is an error."""
    begin = time.monotonic()
    answer = client.get('/studies')
    assert answer.status_code in (200, 503), answer.text
    assert time.monotonic() - begin < 30
    if answer.status_code == 503:
        assert int(answer.headers['Retry-After']) > 0 and answer.json()['HttpStatus'] == 503
    return answer.status_code == 503


def check_away(three, tmp_path):
    """What clients see without a database: through the gateway, and from each process."""
    for client in [three, *map(direct, three.nodes)]:
        wait_for(lambda: is_away(client), 15, '503')
        answer = client.post('/instances', dicom_bytes(instance()))
        assert answer.status_code == 503 and int(answer.headers['Retry-After']) > 0
    for node in three.nodes:
        assert direct(node).get('/healthz').ok, 'the process lives'
        assert direct(node).get('/readyz').status_code == 503, 'and is not ready'
    done = storescu(direct(three.nodes[0]), files(tmp_path / 'away', [instance()]), '-v')
    assert done.returncode != 0 or 'A700' in done.stdout.upper(), done.stdout


def check_back(three, kept, seconds=30):
    wait_for(lambda: not is_away(three) and all(not is_away(direct(n)) for n in three.nodes), seconds, 'recovery')
    assert all(node.process.poll() is None for node in three.nodes)
    for node in three.nodes:
        assert set(direct(node).json('/instances')) >= kept
        kept.add(direct(node).upload(dicom_bytes(instance()))['ID'])
    study = three.json('/studies')[0]
    success(three, create(three, '/studies/%s/archive' % study))
    wait_for(lambda: all(n['Alive'] for n in three.json('/cluster/nodes')) and len(three.json('/cluster/nodes')) >= 3, 20, 'all alive')


def some(three):
    return {three.upload(dicom_bytes(instance()))['ID'] for _ in range(6)}


def test_the_database_is_restarted(three, postgres):
    kept = some(three)
    for stop in [postgres.stop, postgres.kill]:
        stop()
        postgres.start()
        check_back(three, kept)


def test_the_database_is_away_for_30_seconds(three, postgres, tmp_path):
    kept = some(three)
    postgres.stop()
    begin = time.monotonic()
    check_away(three, tmp_path)
    time.sleep(max(0, 30 - (time.monotonic() - begin)))
    postgres.start()
    check_back(three, kept)


def test_the_database_refuses_connections(three, database, tmp_path):
    kept = some(three)
    database.refuse_connections()
    check_away(three, tmp_path)
    database.accept_connections()
    check_back(three, kept)


def test_connections_are_ended_again_and_again_while_clients_store(three, database):
    """Also the connection that listens for hints: nothing waits for it for ever."""
    study, acknowledged, storing = generate_uid(), [], [True]

    def store(_):
        while storing:
            answer = Client(three.url, 0).post('/instances', dicom_bytes(instance(study)))
            assert answer.status_code in (200, 503), answer.text
            if answer.ok:
                acknowledged.append(answer.json()['ID'])

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(store, n) for n in range(4)]
        try:
            for _ in range(8):
                time.sleep(0.5)
                assert database.terminate_connections() > 0
        finally:
            storing.clear()
        for one in work:
            one.result()
    assert acknowledged
    check_back(three, set(acknowledged))


def test_without_hints_the_other_processes_still_learn_of_jobs(three, database):
    """Ends the connections that listen, again and again; nothing else."""
    study = three.upload(dicom_bytes(instance()))['ParentStudy']
    for _ in range(3):
        ended = wait_for(lambda: int(database.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = '%s' AND pid <> pg_backend_pid()"
            " AND query ~* '^listen|pg_notify'" % database.name)), what='a connection that listens')
        assert ended <= 3
        made = create(three, '/studies/%s/archive' % study)
        for node in three.nodes:
            success(direct(node), made)
            assert direct(node).post('/studies/%s/archive' % study, '{}').ok
    check_back(three, {three.json('/instances')[0]})


def test_a_send_survives_a_restart_of_the_database(three, postgres, receiver):
    destination = receiver(delay=0.2)
    assert three.request('PUT', '/modalities/destination', json=destination.modality).ok
    study, series = generate_uid(), generate_uid()
    stored = [three.upload(dicom_bytes(instance(study, series, InstanceNumber=n))) for n in range(40)]
    made = create(three, '/modalities/destination/store', Resources=[stored[0]['ParentStudy']])
    wait_for(lambda: len(destination.arrivals) >= 5, what='five arrivals')
    postgres.stop()
    postgres.start()
    wait_for(lambda: not is_away(three), what='recovery')
    wait_for(lambda: three.get('/jobs/' + made).status_code == 200, what='an answer')
    success(three, made, seconds=90)
    assert len(destination.counts()) == 40


def test_it_does_not_start_without_its_database_and_says_why(node):
    options = {'EnableIndex': True, 'Host': '127.0.0.1', 'Port': 1, 'Database': 'x', 'Username': 'x', 'Password': 'S3cret-word',
               'MaximumConnectionRetries': 1, 'ConnectionRetryInterval': 1}
    one = node({'PostgreSQL': options})
    assert one.spawn().wait(30) == 255
    assert 'PostgreSQL' in one.log and 'S3cret-word' not in one.log


@pytest.mark.parametrize('mode, words', [('transaction', 'a pooler in transaction mode'), ('statement', 'statement pooling mode')])
def test_a_pooler_that_changes_connections_is_refused(node, pooler, mode, words):
    one = node({'PostgreSQL': {**pooler(mode), 'MaximumConnectionRetries': 1, 'ConnectionRetryInterval': 1}})
    assert one.spawn().wait(30) == 255
    assert words in one.log, one.log


def test_a_pooler_in_session_mode_is_as_good_as_none(node, pooler):
    one = node({'PostgreSQL': pooler('session')}).start()
    stored = direct(one).upload(dicom_bytes(instance()))
    success(direct(one), create(direct(one), '/studies/%s/archive' % stored['ParentStudy']))


def test_processes_with_the_same_name_and_different_options_are_shown(cluster):
    made_of = cluster({'Name': 'twin'})
    made_of.nodes[2].config['StableAge'] = 7
    client = client_of(made_of.start())
    nodes = wait_for(lambda: (lambda n: n if len(n) == 3 else None)(client.json('/cluster/nodes')), what='three processes')
    assert {n['Name'] for n in nodes} == {'twin'} and len({n['ID'] for n in nodes}) == 3
    seen = {n['Pid']: n for n in direct(made_of.nodes[0]).json('/cluster/nodes')}
    assert 'StableAge' in seen[made_of.nodes[2].process.pid]['DifferentOptions']
    assert seen[made_of.nodes[1].process.pid]['DifferentOptions'] == []
    assert len({n['ConfigurationHash'] for n in nodes}) == 2
