"""WebDAV as file managers use it, against one process and against three behind a balancer."""
import http.client
import io
import json
import zipfile
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

import pytest
from client import Client
from dicom import dicom_bytes, instance
from jobs import wait_for

ALL = pytest.mark.config(WebDavDeleteAllowed=True)
DAV = '{DAV:}'


def propfind(client, path, depth=1):
    """What a folder shows, by its path: None for a folder, or media type and size; the folder itself comes with a slash."""
    answer = client.request('PROPFIND', quote(path), headers={'Depth': str(depth)})
    assert answer.status_code == 207, answer.text
    entries = {}
    for one in ElementTree.fromstring(answer.content).findall(DAV + 'response'):
        prop = one.find(DAV + 'propstat').find(DAV + 'prop')
        is_folder = prop.find(DAV + 'resourcetype').find(DAV + 'collection') is not None
        text = prop.findtext
        href = unquote(one.findtext(DAV + 'href'))
        assert text(DAV + 'displayname') == href.rstrip('/').rsplit('/', 1)[1]
        entries[href] = None if is_folder else (text(DAV + 'getcontenttype'), int(text(DAV + 'getcontentlength')))
    return entries


def walk(client, folder):
    """All files below a folder."""
    for path, file in propfind(client, folder).items():
        if file:
            yield path, file
        elif not path.endswith('/'):
            yield from walk(client, path)


def status(client, method, path, **arguments):
    return client.request(method, path, **arguments).status_code


def raw(client, method, path):
    """The status of a request whose path is sent as it is: `requests` would tidy it."""
    connection = http.client.HTTPConnection(urlsplit(client.url).netloc, timeout=60)
    connection.request(method, path, headers={'Depth': '1'})
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.fixture
def stored(server):
    ds = instance(PatientID='ID 1', PatientName='Doe^Jane', StudyDescription='Knee (R)', StudyDate='20070103', SeriesDescription='AX.  PD')
    return ds, server.upload(dicom_bytes(ds))


@ALL
def test_the_tree(server, stored):
    ds, ids = stored
    views = ['by-dates', 'by-patients', 'by-studies', 'by-uids', 'uploads']
    assert set(propfind(server, '/webdav')) == {'/webdav/', *('/webdav/' + v for v in views)}
    assert set(propfind(server, '/webdav', depth=0)) == {'/webdav/'}
    file = ('application/dicom', len(dicom_bytes(ds)))
    study, series = 'ID 1 - Doe^Jane - Knee (R)', 'CT - AX.  PD'
    for folder in [
        '/webdav/by-patients/ID 1 - Doe^Jane/20070103 - Knee (R)/' + series,
        '/webdav/by-studies/%s/%s' % (study, series),
        '/webdav/by-dates/2007/2007-01/%s/%s' % (study, series),
    ]:
        path = '%s/%s.dcm' % (folder, ids['ID'])
        top = '/'.join(folder.split('/')[:3])
        assert dict(walk(server, top)) == {path: file}
        assert propfind(server, folder) == {folder + '/': None, path: file}
        answer = server.get(quote(path))
        assert (answer.content, answer.headers['Content-Type']) == (dicom_bytes(ds), 'application/dicom')
        assert server.request('HEAD', quote(path)).headers['Content-Length'] == str(file[1])
        assert server.get(quote(path), headers={'Range': 'bytes=128-131'}).content == b'DICM'
    uids = '/webdav/by-uids/%s' % ds.StudyInstanceUID
    of_series = '%s/%s' % (uids, ds.SeriesInstanceUID)
    files = dict(walk(server, '/webdav/by-uids'))
    assert set(files) == {uids + '/study.json', of_series + '/series.json', '%s/%s.dcm' % (of_series, ds.SOPInstanceUID)}
    for path, level in [(uids + '/study.json', 'studies'), (of_series + '/series.json', 'series')]:
        answer = server.get(path)
        assert files[path] == ('application/json', len(answer.content))
        assert answer.json() == server.json('/%s/%s' % (level, ids['ParentStudy' if level == 'studies' else 'ParentSeries']))


@ALL
def test_names_that_no_file_can_have(server):
    odd = {
        'slash': {'StudyDescription': 'a/b\\c'},
        'dots': {'StudyDescription': '...'},
        'script': {'StudyDescription': 'Колено 山田'},
        'long': {'StudyDescription': 'x' * 64},
        'twin1': {'StudyDescription': 'same'},
        'twin2': {'StudyDescription': 'same'},
        'none': {'StudyDescription': '', 'PatientName': '', 'StudyDate': ''},
    }
    for name, tags in odd.items():
        server.upload(dicom_bytes(instance(**{'PatientID': 'same', 'PatientName': 'X', **tags})))
    server.upload(dicom_bytes(instance(PatientID='', PatientName='Nobody')))
    server.upload(dicom_bytes(instance(PatientID='a - b', PatientName='c - d')))
    for view, files in [('by-studies', 9), ('by-patients', 9), ('by-uids', 27)]:
        found = dict(walk(server, '/webdav/' + view))
        assert len(found) == files, found
        for path in found:
            assert server.get(quote(path)).status_code == 200, path
            assert not set('\\') & set(path) and '..' not in path.split('/')


def imported(server, count):
    """Waits until nothing is left in the area for uploads, and `count` instances are there."""
    wait_for(lambda: set(propfind(server, '/webdav/uploads')) == {'/webdav/uploads/'}, 30, 'the import')
    assert len(server.json('/instances')) == count


@ALL
def test_uploads_are_imported_by_a_job(server):
    ds = instance()
    assert status(server, 'PUT', '/webdav/uploads/x.dcm', data=dicom_bytes(ds)) == 201
    imported(server, 1)
    [stored] = server.json('/instances?expand')
    assert stored['MainDicomTags']['SOPInstanceUID'] == ds.SOPInstanceUID
    assert server.json('/instances/%s/metadata?expand' % stored['ID'])['Origin'] == 'WebDav'
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w') as z:
        z.writestr('../../evil.txt', 'no DICOM')
        for n in range(3):
            z.writestr('deep/%d' % n, dicom_bytes(instance()))
    assert status(server, 'PUT', '/webdav/uploads/x.zip', data=archive.getvalue()) == 201
    for name in ['.DS_Store', 'empty']:
        assert status(server, 'PUT', '/webdav/uploads/' + name, data=b'x' if name != 'empty' else b'') == 201
    imported(server, 4)
    wait_for(lambda: all(j['State'] == 'Success' for j in server.json('/jobs?expand')), 30, 'the end of the jobs')
    jobs = server.json('/jobs?expand')
    assert {j['Type'] for j in jobs} == {'WebDavImport'} and sum(j['Content']['InstancesCount'] for j in jobs) == 4
    assert sum(j['Content']['FilesCount'] for j in jobs) == 3


@pytest.mark.config(ConcurrentJobs=1, WebDavDeleteAllowed=True)
def test_uploads_wait_in_the_area_whoever_is_killed(server, receiver):
    # The only worker of each process is busy, so nothing is imported.
    slow = receiver()
    slow.answers.clear()
    one = server.upload(dicom_bytes(instance()))['ID']
    assert server.request('PUT', '/modalities/slow', data=json.dumps(slow.modality)).status_code == 200
    busy = [server.post('/modalities/slow/store', json.dumps({'Resources': [one], 'Asynchronous': True})).json()['ID'] for _ in server.nodes]
    wait_for(lambda: all(server.json('/jobs/' + j)['State'] == 'Running' for j in busy), 15, 'busy workers')
    assert status(server, 'MKCOL', '/webdav/uploads/a') == 201
    files = {'/webdav/uploads/a/%d' % n: dicom_bytes(instance()) for n in range(3)}
    for path, body in files.items():
        assert status(server, 'PUT', path, data=body) == 201
    assert status(server, 'PUT', '/webdav/uploads/a/0', data=dicom_bytes(instance())) == 201, 'a second one of this name'
    for node in server.nodes:
        client = Client(node.url, node.dicom_port)
        assert set(propfind(client, '/webdav/uploads/a')) == {'/webdav/uploads/a/', *files}
        assert client.get('/webdav/uploads/a/2').content == files['/webdav/uploads/a/2']
    assert propfind(server, '/webdav/uploads/a/1', depth=0) == \
        {'/webdav/uploads/a/1': ('application/octet-stream', len(files['/webdav/uploads/a/1']))}
    assert status(server, 'MKCOL', '/webdav/uploads/a/1') == 403
    assert status(server, 'DELETE', '/webdav/uploads/a/2') == 204 and status(server, 'DELETE', '/webdav/uploads/a/2') == 404
    assert len(server.json('/instances')) == 1
    server.nodes[0].kill()
    server.nodes[0].start()
    for job in busy:
        server.post('/jobs/%s/cancel' % job, '{}')
    wait_for(lambda: set(propfind(server, '/webdav/uploads/a')) == {'/webdav/uploads/a/'}, 60, 'the import')
    assert len(server.json('/instances')) == 4, 'both of one name, and the second file'
    imports = [j for j in server.json('/jobs?expand') if j['Type'] == 'WebDavImport']
    assert len(imports) == 1, imports


@ALL
def test_folders_for_uploads_are_seen_by_all(server):
    assert status(server, 'MKCOL', '/webdav/uploads/a') == 201
    assert status(server, 'MKCOL', '/webdav/uploads/a/b%20c') == 201
    for _ in server.nodes:
        assert set(propfind(server, '/webdav/uploads')) == {'/webdav/uploads/', '/webdav/uploads/a'}
        assert set(propfind(server, '/webdav/uploads/a')) == {'/webdav/uploads/a/', '/webdav/uploads/a/b c'}
    for refused in ['a', 'x/y', 'a/b%20c']:
        assert status(server, 'MKCOL', '/webdav/uploads/' + refused) == 403
    assert status(server, 'PUT', '/webdav/uploads/a/b%20c/1.dcm', data=dicom_bytes(instance())) == 201
    assert status(server, 'PUT', '/webdav/uploads/x/1.dcm', data=dicom_bytes(instance())) == 403
    wait_for(lambda: len(server.json('/instances')) == 1, 30, 'the import')
    assert status(server, 'DELETE', '/webdav/uploads/a') == 204
    assert set(propfind(server, '/webdav/uploads')) == {'/webdav/uploads/'}
    assert status(server, 'PROPFIND', '/webdav/uploads/a/b%20c', headers={'Depth': '0'}) == 404


@ALL
def test_what_is_deleted_is_what_the_folder_shows(server):
    body = dicom_bytes(instance(PatientID='P', PatientName='N', StudyDate='20070103', StudyDescription='D', SeriesDescription='S'))
    ids = server.upload(body)
    for nothing in ['by-dates/2006', 'by-dates/2007/2007-02', 'by-uids/%s/study.json' % server.json('/studies?expand')[0]['MainDicomTags']['StudyInstanceUID']]:
        assert status(server, 'DELETE', '/webdav/' + nothing) == 204
    assert len(server.json('/instances')) == 1
    for refused, code in [('', 403), ('by-uids', 403), ('nope', 404), ('by-studies/nope', 404)]:
        assert status(server, 'DELETE', '/webdav/' + refused) == code
    series = 'CT - S/%s.dcm' % ids['ID']
    for path in ['by-dates/2007/2007-01/P - N - D/' + series, 'by-patients/P - N/20070103 - D/' + series, 'by-studies/P - N - D/' + series]:
        parts = path.split('/')
        for n in range(2, len(parts) + 1):
            server.upload(body)
            assert status(server, 'DELETE', '/webdav/' + quote('/'.join(parts[:n]))) == 204
            assert server.json('/instances') == []


def test_what_is_not_allowed(server, stored):
    _, ids = stored
    assert status(server, 'DELETE', '/webdav/by-dates/2007') == 403
    for method in ['PUT', 'MKCOL', 'LOCK', 'PROPPATCH', 'UNLOCK']:
        for path in ['/webdav/by-uids/x', '/webdav/x', '/webdav']:
            assert status(server, method, path) == 403, (method, path)
    assert len(server.json('/instances')) == 1
    assert status(server, 'POST', '/webdav/uploads/x') == 404
    for method in ['COPY', 'MOVE', 'REPORT']:
        assert status(server, method, '/webdav/uploads/x') == 400


@pytest.mark.config(WebDavUploadAllowed=False)
def test_without_uploads(server):
    assert '/webdav/uploads' not in propfind(server, '/webdav')
    assert status(server, 'PUT', '/webdav/uploads/x', data=dicom_bytes(instance())) == 403
    assert server.json('/instances') == []


@pytest.mark.config(WebDavEnabled=False)
def test_switched_off(server):
    assert status(server, 'PROPFIND', '/webdav', headers={'Depth': '0'}) == 404


def test_what_desktop_clients_ask_for(server):
    answer = server.request('OPTIONS', '/webdav')
    assert (answer.status_code, answer.headers['DAV']) == (200, '1,2') and 'LOCK' in answer.headers['Allow']
    lock = server.request('LOCK', '/webdav/uploads/a%20b')
    token = ElementTree.fromstring(lock.content).find('.//' + DAV + 'locktoken').findtext(DAV + 'href')
    assert lock.status_code == 201 and token in lock.headers['Lock-Token']
    assert status(server, 'UNLOCK', '/webdav/uploads/a%20b', headers={'Lock-Token': lock.headers['Lock-Token']}) == 204
    patch = server.request('PROPPATCH', '/webdav/uploads/a%20b', data='<?xml version="1.0"?><x/>')
    assert patch.status_code == 207 and ElementTree.fromstring(patch.content).tag == DAV + 'multistatus'


def test_bad_paths_and_depths(server):
    for depth in [None, '2', 'infinity', '-1', 'x' * 1000]:
        assert status(server, 'PROPFIND', '/webdav', headers={'Depth': depth} if depth else {}) == 400
    deep, long = 'a/' * 40, 'a' * 300
    for path in ['%2e%2e', '..', 'a%2f..%2fb', 'a%5cb', 'a%00', 'a%0d%0ab', '%ff', deep, long]:
        for method in ['PUT', 'MKCOL', 'DELETE', 'GET', 'PROPFIND', 'LOCK']:
            assert raw(server, method, '/webdav/uploads/' + path) == 400, (method, path)
    for path in ['by-uids/1.2.3', 'by-dates/20070', 'by-dates/2007/2007-13', 'by-dates/2007/2008-01', 'by-patients/x - y', 'by-studies/*',
                 'by-studies/* - *', 'nope', 'by-uids/*/*/*.dcm', 'by-uids/a/b/c/d/e/f/g']:
        assert status(server, 'PROPFIND', '/webdav/' + quote(path), headers={'Depth': '1'}) == 404, path
