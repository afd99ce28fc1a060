"""The database is full: what can be answered is, nothing is lost, and all goes on when there is room again."""
import pytest
from client import Client
from conftest import NUMBERS, client_of
from dicom import dicom_bytes, files, instance, storescu
from jobs import create, job, success, wait_for

MANY = 3000


@pytest.fixture
def disk(postgres, small_disk):
    """Holds the tables of the database, and nothing else: the server itself has room."""
    return small_disk(postgres.folder / ('small%d' % next(NUMBERS)), 24)


@pytest.fixture
def database(postgres, disk):
    folder = disk.folder / 'tables'
    folder.mkdir()
    database = postgres.create_database('small%d' % next(NUMBERS), folder)
    yield database
    disk.make_room()
    database.drop()


@pytest.fixture
def three(cluster):
    return client_of(cluster({'JobsHistorySize': 10_000, 'MediaArchiveSize': 10_000}).start())


def until_refused(attempt):
    """Tries again and again, until pages have no room left either; returns the answers that were good, and the refusal."""
    good = []
    for _ in range(MANY):
        answer = attempt()
        if answer.status_code != 200:
            return good, answer
        good.append(answer.json())
    raise AssertionError('%d were taken although there is no room' % MANY)


def assert_no_room(answer):
    body = answer.json()
    assert answer.status_code == body['HttpStatus'] == 503 and int(answer.headers['Retry-After']) > 0, answer.text
    assert 'No space left' in body['Details'] and '53100' in body['Details'], answer.text
    assert body['OrthancError'] and body['Uri'] and body['Method'], answer.text


def test_the_database_is_full(three, disk, database, receiver, tmp_path):
    destination = receiver()
    assert three.request('PUT', '/modalities/destination', json=destination.modality).ok
    body = dicom_bytes(instance())
    stored = {three.upload(body)['ID']: body}
    study = three.json('/studies')[0]
    destination.stop_answering()
    sends = [create(three, '/modalities/destination/store', Resources=[study]) for _ in range(20)]
    wait_for(lambda: destination.arrivals, what='a send under way')
    database.sql('SELECT 1')  # writes the file without which PostgreSQL takes no connection; the next test is about that
    disk.fill()

    def store():
        sent = dicom_bytes(instance())
        answer = three.post('/instances', sent)
        if answer.ok:
            stored[answer.json()['ID']] = sent
        return answer

    _, refused = until_refused(store)
    assert_no_room(refused)
    archives, refused = until_refused(lambda: three.post('/studies/%s/archive' % study, None, json={'Asynchronous': True}))
    assert_no_room(refused)
    # Who starts now waits for room, unless what it writes has some.
    three.nodes[2].kill()
    three.nodes[2].spawn()
    done = storescu(three, files(tmp_path / 'refused', [instance()]), '-v')
    assert done.returncode != 0 or 'A700' in done.stdout.upper() or 'OUTOFRESOURCES' in done.stdout.upper(), done.stdout
    destination.go_on()
    wait_for(lambda: len(destination.arrivals) >= 2, what='more sends')

    # Everybody else reads, lives and is ready.
    for node in three.nodes[:2]:
        one = Client(node.url, node.dicom_port, node.aet)
        assert one.get('/readyz').ok and set(one.json('/instances')) == set(stored)
        for identifier, sent in list(stored.items())[:3]:
            assert one.get('/instances/%s/file' % identifier).content == sent
        assert one.post('/tools/find', None, json={'Level': 'Study', 'Query': {'PatientID': 'P1'}}).json()
        assert len([n for n in one.json('/cluster/nodes') if n['Alive']]) >= 2
        assert set(sends) <= set(one.json('/jobs')) and one.json('/changes')['Changes']
    made = sends + [answer['ID'] for answer in archives]
    assert 'Failure' not in {job(three, identifier)['State'] for identifier in made}

    disk.make_room()
    three.nodes[2].wait_until_ready()
    for identifier in made:
        success(three, identifier, seconds=120)
    for answer in archives[-3:]:
        assert three.get(answer['Path'] + '/archive').content[:2] == b'PK'
    sent = dicom_bytes(instance())
    stored[three.upload(sent)['ID']] = sent
    assert set(three.json('/instances')) == set(stored)
    for identifier, sent in stored.items():
        assert three.get('/instances/%s/file' % identifier).content == sent
    assert three.json('/statistics')['CountInstances'] == len(stored)
    assert sum(c['ChangeType'] == 'NewInstance' for c in three.changes()) == len(stored)
    assert all(node.process.poll() is None for node in three.nodes)


def test_the_database_is_too_full_to_take_connections(three, disk, database):
    """Without a file that PostgreSQL keeps for connections, and without room to make it again."""
    stored = three.upload(dicom_bytes(instance()))
    disk.fill()
    for file in disk.folder.glob('tables/*/*/pg_internal.init'):
        file.unlink()
    disk.fill()
    database.terminate_connections()

    def answers():
        return [Client(node.url, node.dicom_port, node.aet).get('/instances/' + stored['ID']) for node in three.nodes]

    def refused():
        got = answers()
        assert {answer.status_code for answer in got} <= {200, 503}, [answer.text for answer in got]
        return all(answer.status_code == 503 and 'init file' in answer.json()['Details'] for answer in got)

    wait_for(refused, what='503 of all, and why')
    disk.make_room()
    wait_for(lambda: all(answer.ok for answer in answers()), what='recovery')
    wait_for(lambda: three.get('/studies').ok, what='recovery at the gateway')
    success(three, create(three, '/studies/%s/archive' % stored['ParentStudy']))
