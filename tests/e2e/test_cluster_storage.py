"""Files that are lost, and no room for new ones: the job says what is wrong, and the others go on."""
import pytest
from client import Client
from conftest import client_of
from dicom import dicom_bytes, instance
from jobs import create, success, wait_for, wait_for_state, zipped
from pydicom.uid import generate_uid

MIB = 1 << 20


def test_the_storage_is_full_while_an_archive_is_written(cluster, small_disk, tmp_path, receiver):
    disk = small_disk(tmp_path / 'small', 16)
    three = client_of(cluster({'StorageDirectory': str(disk.folder), 'JobsHistorySize': 100, 'MediaArchiveSize': 50}).start())
    destination = receiver()
    assert three.request('PUT', '/modalities/destination', json=destination.modality).ok
    study, series = generate_uid(), generate_uid()
    large = [three.upload(dicom_bytes(instance(study, series, 512, InstanceNumber=n))) for n in range(8)]
    small = three.upload(dicom_bytes(instance()))
    blobs = len(files_in(disk))
    disk.fill(leave_bytes=2 * MIB)
    made = create(three, '/studies/%s/archive' % large[0]['ParentStudy'])
    failed = wait_for_state(three, made, 'Failure')
    assert failed['ErrorCode'] == 19 and 'full' in failed['ErrorDescription'].lower() and failed['ErrorDetails'], failed
    assert three.get('/jobs/%s/archive' % made).status_code == 404
    wait_for(lambda: len(files_in(disk)) == blobs, what='nothing left of it')
    assert three.get('/studies/%s/archive' % large[0]['ParentStudy']).ok, 'a download that is made while it is sent needs no room'
    # What needs little room, or none, goes on.
    success(three, create(three, '/studies/%s/archive' % small['ParentStudy']))
    success(three, create(three, '/modalities/destination/store', Resources=[large[0]['ParentStudy']]))
    assert len(destination.counts()) == 8
    disk.make_room()
    assert three.post('/jobs/%s/resubmit' % made, '{}').ok
    success(three, made)
    assert zipped(three.get('/jobs/%s/archive' % made).content) == 8


def files_in(disk):
    return [p for p in disk.folder.rglob('*') if p.is_file() and len(p.name) == 36]


@pytest.fixture
def lossy(cluster, receiver):
    """A cluster that lost one file of a study of four; the lost instance, the study, and a destination of sends."""
    three = client_of(cluster().start())
    destination = receiver()
    assert three.request('PUT', '/modalities/destination', json=destination.modality).ok
    study, series = generate_uid(), generate_uid()
    stored = [three.upload(dicom_bytes(instance(study, series, InstanceNumber=n))) for n in range(4)]
    lost = stored[2]['ID']
    uuid = three.json('/instances/%s/attachments/dicom/info' % lost)['Uuid']
    [blob] = [p for p in three.nodes[0].blobs() if p.name == uuid]
    blob.unlink()
    return three, destination, stored[0]['ParentStudy'], lost


def test_an_archive_that_misses_a_file_says_which(lossy):
    three, _, study, lost = lossy
    other = three.upload(dicom_bytes(instance()))['ParentStudy']
    made, good = create(three, '/studies/%s/archive' % study), create(three, '/studies/%s/archive' % other)
    failed = wait_for_state(three, made, 'Failure')
    assert failed['ErrorCode'] > 0 and lost in failed['ErrorDetails'], failed
    assert three.get('/jobs/%s/archive' % made).status_code == 404
    success(three, good)
    assert zipped(three.get('/jobs/%s/archive' % good).content) == 1


def test_a_send_that_misses_a_file_says_which(lossy):
    three, destination, study, lost = lossy
    failed = wait_for_state(three, create(three, '/modalities/destination/store', Resources=[study]), 'Failure')
    assert failed['ErrorCode'] > 0 and lost in failed['ErrorDetails'], failed
    assert len(destination.counts()) == 2, 'those before it were sent'
    done = success(three, create(three, '/modalities/destination/store', Resources=[study], Permissive=True))
    assert done['Content']['FailedInstancesCount'] == 1 and done['Content']['InstancesCount'] == 4
    assert len(destination.counts()) == 3, 'all others arrived'


@pytest.mark.parametrize('door', ['store', 'attachment', 'job'])
def test_a_process_that_was_taken_for_dead_leaves_no_file(node, database, door):
    """Its names were swept: what it writes under one of them must not stay, as no sweep comes for it any more."""
    one = node({'PostgreSQL': database.options}).start()
    client = Client(one.url, one.dicom_port)
    kept = client.upload(dicom_bytes(instance()))
    write = {
        'store': lambda: client.post('/instances', dicom_bytes(instance())),
        'attachment': lambda: client.request('PUT', '/instances/%s/attachments/1024' % kept['ID'], data=b'note'),
        'job': lambda: client.post('/studies/%s/archive' % kept['ParentStudy'], '{"Asynchronous": true}'),
    }[door]
    database.sql("UPDATE pleiad.blob_node SET alive_until = now() - interval '1 minute'")
    wait_for(lambda: database.sql('SELECT count(*) FROM pleiad.blob_intent') == '0', what='the sweep')
    if door == 'job':
        success(client, write().json()['ID'])
    else:
        assert write().status_code == 503
        assert write().ok
    wait_for(lambda: len(one.blobs()) == 2, what='as many files as rows')
