"""Archives that are sent while they are made: whatever goes wrong, nobody takes a part for the whole."""
import io
import zipfile

import pytest
import requests
from dicom import dicom_bytes, instance
from jobs import act, create, job, success, wait_for, wait_for_state, zipped
from pydicom.uid import generate_uid

# More than all buffers between the two ends hold.
LARGE = 24


@pytest.fixture
def study(server):
    """The study of large instances; their ids are `instances`, in order."""
    uids = {'study': generate_uid(), 'series': generate_uid()}
    stored = [server.upload(dicom_bytes(instance(size=1024, InstanceNumber=n, **uids))) for n in range(LARGE)]
    return {'ID': stored[0]['ParentStudy'], 'instances': [one['ID'] for one in stored]}


def begun(server, study):
    """A download of which something has arrived, and its job."""
    answer = server.get('/studies/%s/archive' % study['ID'], stream=True)
    assert answer.status_code == 200 and 'Content-Length' not in answer.headers
    first = answer.raw.read(4096, decode_content=False)
    assert first[:4] == b'PK\3\4'
    [made] = server.json('/jobs')
    assert answer.headers['X-Orthanc-Job'] == made
    assert job(server, made)['State'] == 'Running'
    return answer, first, made


def test_a_cancelled_download_ends_without_the_directory_of_the_zip(server, study):
    """As in Orthanc, the answer ends in the usual way: that something is missing is seen in the archive."""
    answer, first, made = begun(server, study)
    assert act(server, made, 'cancel') == 200
    assert wait_for_state(server, made, 'Failure', seconds=5)['ErrorCode'] == 37
    body = first + answer.raw.read()
    assert len(body) < LARGE << 20 and b'PK\1\2' not in body[-1000:]
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(body))
    assert zipped(server.get('/studies/%s/archive' % study['ID']).content) == LARGE


def test_a_client_that_goes_away_ends_its_job(server, study):
    answer, _, made = begun(server, study)
    answer.close()
    failed = wait_for_state(server, made, 'Failure', seconds=5)
    assert (failed['ErrorCode'], failed['ErrorDescription']) == (14, 'Cannot write to file')


def test_a_download_that_fails_breaks_its_connection(server, study):
    uuid = server.json('/instances/%s/attachments/dicom/info' % study['instances'][-1])['Uuid']
    [blob] = [p for p in server.nodes[0].blobs() if p.name == uuid]
    blob.unlink()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        server.get('/studies/%s/archive' % study['ID'])
    [made] = server.json('/jobs')
    failed = wait_for_state(server, made, 'Failure')
    assert study['instances'][-1] in failed['ErrorDetails']


@pytest.mark.config(SynchronousZipStream=False)
def test_an_archive_that_is_made_before_it_is_sent(server, study):
    """A client that goes away ends nothing: the answer begins after the job has ended."""
    with pytest.raises(requests.exceptions.ReadTimeout):
        server.session.get(server.url + '/studies/%s/archive' % study['ID'], timeout=0.05)
    [made] = wait_for(lambda: server.json('/jobs'), what='the job')
    success(server, made)
    answer = server.get('/studies/%s/archive' % study['ID'])
    assert zipped(answer.content) == LARGE and answer.headers['Content-Length'] == str(len(answer.content))


@pytest.mark.config(JobsHistorySize=100)
def test_a_start_without_jobs(server):
    """`--no-jobs`: who has the index alone forgets the jobs of earlier runs, as Orthanc; others may run them."""
    archive = '/studies/%s/archive' % server.upload(dicom_bytes(instance()))['ParentStudy']
    made = create(server, archive)
    success(server, made)
    for node in server.nodes:
        node.stop()
        node.start('--no-jobs')
    # The gateway finds them again.
    wait_for(lambda: server.get('/system').ok, what='the first answer')
    is_shared = 'PostgreSQL' in server.nodes[0].config
    assert server.json('/jobs') == ([made] if is_shared else [])
    assert server.get('/jobs/%s/archive' % made).status_code == (200 if is_shared else 404)
    success(server, create(server, archive))
    if not is_shared:
        wait_for(lambda: len(server.nodes[0].blobs()) == 2, what='the end of the earlier archive')
