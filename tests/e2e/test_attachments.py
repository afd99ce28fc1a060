"""Attachments of clients."""
import hashlib
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from client import Client
from dicom import dicom_bytes, instance


def etag(revision, content):
    return '"%d-%s"' % (revision, hashlib.md5(content).hexdigest())


@pytest.mark.config(CheckRevisions=True)
def test_versions_of_an_attachment(server):
    one = server.upload(dicom_bytes(instance()))['Path'] + '/attachments/1024'
    put = server.request('PUT', one, data=b'hello')
    assert (put.status_code, put.headers['ETag']) == (200, etag(0, b'hello'))

    def get(condition):
        answer = server.get(one + '/data', headers={'If-None-Match': condition})
        assert answer.headers['ETag'] == etag(0, b'hello'), 'whatever is answered'
        return answer.status_code

    assert get(etag(0, b'hello')) == 304
    assert get(etag(1, b'hello')) == get('"0-tata"') == 200
    assert get('tata') == 400

    def change(method, condition=None):
        headers = {'If-Match': condition} if condition else {}
        return server.request(method, one, data=b'other', headers=headers).status_code

    for method in ['PUT', 'DELETE']:
        assert change(method) == change(method, etag(7, b'hello')) == change(method, '"0-tata"') == 409
        assert change(method, 'tata') == 400
    assert server.get(one + '/data').content == b'hello'
    assert change('PUT', etag(0, b'hello')) == 200
    assert change('DELETE', etag(1, b'other')) == 200
    assert server.get(one + '/data').status_code == 404


@pytest.mark.config(CheckRevisions=True)
def test_a_bad_condition_names_the_version_of_metadata(server):
    path = server.upload(dicom_bytes(instance()))['Path'] + '/metadata/1030'
    server.request('PUT', path, data=b'v')
    answer = server.get(path, headers={'If-None-Match': 'tata'})
    assert (answer.status_code, answer.headers['ETag']) == (400, etag(0, b'v'))


def numbers(server, path):
    """What is told about an attachment and about the disk."""
    told = {name: server.get(path + '/' + name).text for name in ['size', 'compressed-size', 'md5', 'compressed-md5', 'is-compressed']}
    total = server.json('/statistics')
    return told, int(total['TotalDiskSize']), int(total['TotalUncompressedSize'])


def test_compress_and_uncompress(server):
    node = server.nodes[0]  # all share one folder
    body = dicom_bytes(instance(ImageComments='x' * 5000))
    stored = server.upload(body)
    path = stored['Path'] + '/attachments/dicom'
    tags = server.json(stored['Path'] + '/tags')
    before = numbers(server, path)
    assert server.post(path + '/uncompress', None).json() == {}, 'nothing to do'
    assert numbers(server, path) == before
    assert server.post(path + '/compress', None).json() == {}
    told, disk, total = numbers(server, path)
    packed = server.get(path + '/compressed-data').content
    assert (told['is-compressed'], told['size'], told['md5']) == ('1', str(len(body)), hashlib.md5(body).hexdigest())
    assert (told['compressed-size'], told['compressed-md5']) == (str(len(packed)), hashlib.md5(packed).hexdigest())
    assert (disk, total) == (len(packed), len(body)) and len(packed) < len(body)
    assert packed[:8] == len(body).to_bytes(8, 'little') and zlib.decompress(packed[8:]) == body
    assert [p.read_bytes() for p in node.blobs()] == [packed], 'the old file is gone'
    # Clients see the same as before.
    assert server.get(path + '/data').content == server.get(stored['Path'] + '/file').content == body
    for first, last in [(0, 0), (100, 200), (5000, len(body) - 1)]:
        part = server.get(path + '/data', headers={'Range': 'bytes=%d-%d' % (first, last)})
        assert (part.status_code, part.content) == (206, body[first:last + 1])
        assert part.headers['Content-Type'] == 'application/octet-stream'
    assert server.get(path + '/compressed-data', headers={'Range': 'bytes=8-9'}).content == packed[8:10]
    assert server.json(stored['Path'] + '/tags') == tags
    assert server.post(path + '/verify-md5', None).status_code == 200
    assert server.post(path + '/uncompress', None).status_code == 200
    assert numbers(server, path) == before
    assert [p.read_bytes() for p in node.blobs()] == [body]
    assert server.post(stored['Path'] + '/attachments/1024/compress', None).status_code == 404


def test_a_damaged_compressed_file_is_noticed(server):
    node = server.nodes[0]  # all share one folder
    body = dicom_bytes(instance(size=256))
    path = server.upload(body)['Path'] + '/attachments/dicom'
    server.post(path + '/compress', None)
    blob, = node.blobs()
    packed = bytearray(blob.read_bytes())
    packed[len(packed) // 2] ^= 0xFF
    blob.write_bytes(packed)
    answer = server.post(path + '/verify-md5', None)
    assert answer.status_code == 500 and blob.name in answer.json()['Details']
    assert server.post(path + '/uncompress', None).status_code == 500
    assert server.get(path + '/is-compressed').text == '1'
    assert [p.name for p in node.blobs()] == [blob.name], 'nothing is left of the attempt'


def told_md5s(server, of_series):
    found = server.post('/tools/find', None, json={
        'Level': 'Instance', 'Query': {}, 'ParentSeries': of_series, 'ResponseContent': ['Attachments']}).json()
    assert all(a['UncompressedMD5'] == a['CompressedMD5'] for one in found for a in one['Attachments'])
    return {one['ID']: one['Attachments'][0]['UncompressedMD5'] for one in found}


def test_md5s_of_what_was_just_stored(server):
    bodies = [dicom_bytes(instance('1.1', '1.1.1', size=64 + n)) for n in range(10)]
    stored = [server.upload(body) for body in bodies]
    md5s = {one['ID']: hashlib.md5(body).hexdigest() for one, body in zip(stored, bodies)}
    path = stored[0]['Path'] + '/attachments/dicom'
    first = md5s[stored[0]['ID']]
    assert 'md5' in server.json(path) and 'verify-md5' in server.json(path)
    for _ in range(2):
        assert server.get(path + '/md5').text == server.get(path + '/compressed-md5').text == first
        assert server.json(path + '/info')['UncompressedMD5'] == server.json(path + '/info')['CompressedMD5'] == first
        assert server.get(path + '/data').headers['ETag'] == etag(0, bodies[0])
    # Many clients ask for the others at the same moment.
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(told_md5s, server, stored[0]['ParentSeries']) for _ in range(8)]
        assert all(one.result() == md5s for one in asked)
    assert server.json('/changes')['Last'] == len(stored) + 3, 'nothing changed'


@pytest.mark.config(StoreMD5ForAttachments=False)
def test_without_md5s(server):
    node = server.nodes[0]  # all share one folder
    stored = server.upload(dicom_bytes(instance(size=64)))
    path = stored['Path'] + '/attachments/dicom'
    assert not [name for name in server.json(path) if 'md5' in name]
    assert server.get(path + '/md5').status_code == server.get(path + '/compressed-md5').status_code == 404
    assert server.json(path + '/info')['UncompressedMD5'] == server.json(path + '/info')['CompressedMD5'] == ''
    assert told_md5s(server, stored['ParentSeries']) == {stored['ID']: ''}
    assert server.get(path + '/data').headers['ETag'] == '"0-"'
    assert server.request('PUT', stored['Path'] + '/attachments/1024', data=b'x').headers['ETag'] == '"0-"'
    assert server.post(path + '/verify-md5', None).status_code == 200
    flip(node.blobs()[0] if node.blobs()[0].stat().st_size > 1 else node.blobs()[1])
    assert server.post(path + '/verify-md5', None).status_code == 500


def flip(blob):
    damaged = bytearray(blob.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    blob.write_bytes(damaged)


@pytest.mark.parametrize('asked_before', [False, True])
def test_a_flipped_bit_is_noticed(server, asked_before):
    node = server.nodes[0]  # all share one folder
    body = dicom_bytes(instance(size=64))
    stored = server.upload(body)
    path = stored['Path'] + '/attachments/dicom'
    md5 = hashlib.md5(body).hexdigest() if asked_before else ''
    if asked_before:
        assert server.get(path + '/md5').text == md5
    blob, = node.blobs()
    flip(blob)
    for _ in range(2):
        answer = server.post(path + '/verify-md5', None)
        assert answer.status_code == 500 and blob.name in answer.json()['Details']
        answer = server.get(path + '/md5')
        assert (answer.status_code, answer.text == md5) == ((200, True) if asked_before else (500, False))
        # What tells more than the MD5 tells the rest.
        assert server.json(path + '/info')['UncompressedMD5'] == md5
        assert told_md5s(server, stored['ParentSeries']) == {stored['ID']: md5}
        answer = server.get(path + '/data')
        assert (answer.headers['ETag'], answer.content) == ('"0-%s"' % md5, blob.read_bytes())
    archive = server.post(stored['Path'].replace('instances', 'series').replace(stored['ID'], stored['ParentSeries']) + '/archive',
                          None, json={'Synchronous': True})
    assert archive.status_code == 500, 'an archive is not made of it'
    blob.write_bytes(body)
    assert server.post(path + '/verify-md5', None).status_code == 200
    assert server.get(path + '/md5').text == hashlib.md5(body).hexdigest()


@pytest.mark.config(StorageCompression=True)
@pytest.mark.parametrize('size', [16, 1024])
def test_storage_compression(server, size):
    """Small files and those that go to the disk while they arrive."""
    node = server.nodes[0]  # all share one folder
    assert server.json('/system')['StorageCompression'] is True
    ds = instance(size=size)
    ds.PixelData = bytes(2 * size * size)
    body = dicom_bytes(ds)
    stored = server.upload(body)
    path = stored['Path'] + '/attachments/'
    assert server.get(path + 'dicom/is-compressed').text == '1'
    assert server.get(stored['Path'] + '/file').content == body
    blob, = node.blobs()
    packed = blob.read_bytes()
    assert zlib.decompress(packed[8:]) == body
    assert server.get(path + 'dicom/md5').text == hashlib.md5(body).hexdigest()
    assert server.get(path + 'dicom/compressed-md5').text == hashlib.md5(packed).hexdigest()
    assert server.post(path + 'dicom/verify-md5', None).status_code == 200
    server.request('PUT', path + '1024', data=b'x' * 100_000)
    assert int(server.get(path + '1024/compressed-size').text) < 1000
    assert server.get(path + '1024/data').content == b'x' * 100_000
    assert server.upload(body)['Status'] == 'AlreadyStored'
    assert len(node.blobs()) == 2


def test_reconstruct_files_follows_the_configuration(node):
    one = node().start()
    server = Client(one.url, one.dicom_port)
    body = dicom_bytes(instance(ImageComments='x' * 5000))
    stored = server.upload(body)
    one.stop()
    one.config['StorageCompression'] = True
    one.start()

    def reconstruct(path, files):
        assert server.post(path, None, json={'ReconstructFiles': files}).status_code == 200
        assert server.get(stored['Path'] + '/file').content == body
        return server.get(stored['Path'] + '/attachments/dicom/is-compressed').text

    study = '/studies/%s/reconstruct' % stored['ParentStudy']
    assert reconstruct(study, False) == '0'
    assert reconstruct(study, True) == '1'
    one.stop()
    one.config['StorageCompression'] = False
    one.start()
    assert reconstruct('/tools/reconstruct', True) == '0'
    assert len(one.blobs()) == 1


def test_readers_notice_nothing_of_compression(server):
    """Whoever reads while the file is compressed and uncompressed gets all of it, every time."""
    body = dicom_bytes(instance(size=64))
    stored = server.upload(body)
    path = stored['Path'] + '/attachments/dicom'
    stop = threading.Event()

    def change():
        while not stop.is_set():
            assert server.post(path + '/compress', None).status_code == 200
            assert server.post(path + '/uncompress', None).status_code == 200

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        for _ in range(100):
            for reading in [path + '/data', stored['Path'] + '/file']:
                answer = server.get(reading)
                assert (answer.status_code, answer.content == body) == (200, True)
        stop.set()
        changing.result()
    assert len(server.nodes[0].blobs()) == 1
