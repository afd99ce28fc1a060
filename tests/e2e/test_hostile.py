"""Bad input: a clear error each, nothing lost, neighbours unharmed, memory bounded, the process lives."""
import gzip
import io
import socket
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from client import Client
from dicom import dicom_bytes, echoscu, files, instance, storescu
from pydicom.uid import generate_uid

MIB = 1 << 20


def peak_bytes(server):
    """The most memory that a process ever had: of several, the one with the most."""
    def peak(pid):
        [line] = [line for line in open('/proc/%d/status' % pid) if line.startswith('VmHWM:')]
        return int(line.split()[1]) * 1024
    return max(peak(node.process.pid) for node in server.nodes)


@pytest.fixture
def healthy(server):
    """A server that holds one instance, and must hold it unharmed at the end."""
    body = dicom_bytes(instance())
    kept = server.upload(body)['ID']
    yield server
    assert all(node.process.poll() is None for node in server.nodes), 'a process died'
    assert server.get('/instances/%s/file' % kept).content == body
    assert echoscu(server).returncode == 0


def element(group, number, vr, value):
    if vr in ('SQ', 'UN', 'OB', 'OW'):
        return struct.pack('<HH2sHI', group, number, vr.encode(), 0, len(value)) + value
    return struct.pack('<HH2sH', group, number, vr.encode(), len(value)) + value


def raw_file(*elements, tail=b''):
    """A DICOM file from encoded elements (Explicit VR Little Endian), with the identifiers that the index wants."""
    uid = generate_uid().encode() + b'\0'
    uid = uid[:len(uid) & ~1]
    syntax = element(2, 0x10, 'UI', b'1.2.840.10008.1.2.1\0')
    meta = element(2, 0, 'UL', struct.pack('<I', len(syntax))) + syntax
    ids = [element(8, 0x16, 'UI', b'1.2.840.10008.5.1.4.1.1.2\0'), element(8, 0x18, 'UI', uid), element(0x10, 0x20, 'LO', b'P1'),
           element(0x20, 0xd, 'UI', uid), element(0x20, 0xe, 'UI', uid)]
    body = b''.join(sorted([*ids, *elements], key=lambda e: struct.unpack('<HH', e[:4])))
    return b'\0' * 128 + b'DICM' + meta + body + tail


def test_a_truncated_file(healthy):
    body = dicom_bytes(instance(size=64))
    before = peak_bytes(healthy)
    for end in [131, 132, 140, 200, 400, 600]:
        answer = healthy.post('/instances', body[:end])
        assert answer.status_code == 400 and answer.json()['HttpStatus'] == 400, end
    assert len(healthy.json('/instances')) == 1 and len(healthy.nodes[0].blobs()) == 1
    assert peak_bytes(healthy) - before < 16 * MIB


def test_a_small_file_that_declares_4_gib(healthy):
    before = peak_bytes(healthy)
    for vr in ['OB', 'UN', 'SQ']:
        lie = struct.pack('<HH2sHI', 0x40, 0x1, vr.encode(), 0, 0xfffffff0) + b'x' * 400
        assert healthy.post('/instances', raw_file(tail=lie)).status_code == 400
    assert peak_bytes(healthy) - before < 16 * MIB


def test_sixty_thousand_nested_sequences(healthy):
    before = peak_bytes(healthy)
    level = struct.pack('<HH2sHI', 0x40, 0x275, b'SQ', 0, 0xffffffff) + struct.pack('<HHI', 0xfffe, 0xe000, 0xffffffff)
    answer = healthy.post('/instances', raw_file(tail=level * 60_000))
    assert answer.status_code == 400
    assert peak_bytes(healthy) - before < 64 * MIB


def test_hostile_values_in_indexed_tags(healthy):
    for value in [b'a\0b', b"'; DROP TABLE study; --", b'../../../etc/passwd', b'%_*?\\', b'\xff\xfe\x80', b'x' * 60_000]:
        value += b' ' * (len(value) % 2)
        stored = healthy.upload(raw_file(element(8, 0x1030, 'LO', value), element(0x10, 0x10, 'PN', value)))
        assert healthy.get('/studies/' + stored['ParentStudy']).ok
        assert healthy.get('/instances/%s/simplified-tags' % stored['ID']).ok
    long = raw_file(struct.pack('<HH2sHI', 8, 0x1030, b'UT', 0, 100_000) + b'y' * 100_000)
    assert healthy.upload(long)['Status'] == 'Success'
    for query in ["'; DROP TABLE study; --", '%', '_', '\\', '\0', '*' * 1000, '[a-z]', 'a' * 100_000]:
        answer = healthy.post('/tools/find', None, json={'Level': 'Study', 'Query': {'StudyDescription': query}})
        assert answer.status_code in (200, 400), query
    assert healthy.json('/statistics')['CountStudies'] == 2 + 6


def test_zip_and_gzip_bombs(node):
    one = node({'MaximumFileSizeInArchiveMB': 16, 'MaximumRequestBodySizeMB': 64}).start()
    server = Client(one.url, one.dicom_port)
    server.nodes = [one]
    before = peak_bytes(server)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, 'w', zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open('bomb', 'w', force_zip64=True) as entry:
            entry.write(raw_file(tail=struct.pack('<HH2sHI', 0x7fe0, 0x10, b'OB', 0, 512 * MIB)))
            for _ in range(512):
                entry.write(b'\0' * MIB)
    answer = server.post('/instances', bomb.getvalue())
    assert 400 <= answer.status_code < 500
    answer = server.post('/instances', gzip.compress(b'\0' * (512 * MIB)), headers={'Content-Encoding': 'gzip'})
    assert 400 <= answer.status_code < 500
    assert peak_bytes(server) - before < 128 * MIB
    assert server.json('/instances') == []


def test_a_zip_is_stored_file_by_file(healthy):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w') as target:
        for n in range(5):
            target.writestr('%d.dcm' % n, dicom_bytes(instance()))
        target.writestr('README.txt', 'not DICOM')
    answer = healthy.post('/instances', archive.getvalue())
    assert answer.status_code == 200 and len([i for i in answer.json() if i.get('Status') == 'Success']) == 5
    assert len(healthy.json('/instances')) == 6


@pytest.mark.config(MaximumRequestBodySizeMB=1)
def test_a_body_over_the_limit(healthy):
    for body in [b'x' * (2 * MIB), iter([b'x' * MIB, b'x' * MIB])]:
        try:
            assert healthy.post('/instances', body).status_code == 413
        except OSError as error:  # the server may hang up while the body is still being sent
            assert 'reset' in str(error).lower() or 'pipe' in str(error).lower() or 'aborted' in str(error).lower()


def test_invalid_json_and_types(healthy):
    for body in ['', '{', '[]', '1', 'null', '{"Level": 1}', '{"Level": "Nothing", "Query": {}}', '{"Level": "Study"}',
                 '{"Level": "Study", "Query": {"NoSuchTag": "x"}}', '{"Level": "Study", "Query": {"PatientID": 1}}', '[' * 10_000]:
        answer = healthy.post('/tools/find', body)
        assert 400 <= answer.status_code < 500, body[:50]
        assert answer.json()['HttpStatus'] == answer.status_code


def test_raw_http_nonsense(healthy):
    port = healthy.nodes[0].config['HttpPort']
    for text in [b'\0\1\2\3' * 100, b'GET / HTTP/1.1\r\nX: ' + b'y' * 400_000 + b'\r\n\r\n', b'GET /' + b'z' * 100_000 + b' HTTP/1.1\r\n\r\n',
                 b'POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc',
                 b'POST /instances HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n']:
        with socket.create_connection(('127.0.0.1', port), 5) as s:
            try:
                s.sendall(text)
                s.settimeout(2)
                s.recv(100)
            except OSError:
                pass


def test_a_pdu_of_4_gib_and_a_client_that_is_silent(healthy):
    before = peak_bytes(healthy)
    sockets = []
    for first in [b'\x01\0\xff\xff\xff\xff', b'\x04\0\xff\xff\xff\xff', b'\x01\0\0\0\0\x10' + b'\0' * 8, b'', b'GET / HTTP/1.1\r\n\r\n']:
        s = socket.create_connection(('127.0.0.1', healthy.dicom_port), 5)
        s.sendall(first)
        sockets.append(s)
    assert echoscu(healthy).returncode == 0, 'others are served meanwhile'
    for s in sockets:
        s.close()
    assert peak_bytes(healthy) - before < 16 * MIB


def test_many_idle_associations_do_not_shut_out_http(healthy):
    sockets = [socket.create_connection(('127.0.0.1', healthy.dicom_port), 5) for _ in range(300)]
    assert healthy.get('/instances').ok
    for s in sockets:
        s.close()


def test_one_bad_object_does_not_end_the_association(healthy, tmp_path):
    paths = files(tmp_path / 'mixed', [instance() for _ in range(3)])
    bad = instance()
    del bad.StudyInstanceUID
    paths[1:1] = files(tmp_path / 'bad', [bad])
    done = storescu(healthy, paths, '--no-halt')
    assert 'Peer aborted' not in done.stdout, done.stdout
    assert len(healthy.json('/instances')) == 4


def test_colliding_identifiers(healthy):
    uid = generate_uid()
    for patient in ['P1', 'P2']:
        healthy.upload(dicom_bytes(instance(uid, uid, SOPInstanceUID=uid, PatientID=patient)))
    statistics = healthy.json('/statistics')
    assert (statistics['CountPatients'], statistics['CountInstances']) == (2, 3)


def test_a_full_disk(node, small_disk, tmp_path):
    disk = small_disk(tmp_path / 'small')
    one = node({'StorageDirectory': str(disk.folder), 'IndexDirectory': str(tmp_path / 'index')}).start()
    client = Client(one.url, one.dicom_port)
    bodies = [dicom_bytes(instance(size=512)) for _ in range(16)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda body: Client(one.url, one.dicom_port).post('/instances', body), bodies))
    stored = {a.json()['ID']: b for a, b in zip(answers, bodies) if a.status_code == 200}
    refused = [a for a in answers if a.status_code != 200]
    assert stored and refused
    assert {a.status_code for a in refused} == {507} and 'full' in refused[0].json()['OrthancError']
    assert set(client.json('/instances')) == set(stored)
    done = storescu(client, files(tmp_path / 'big', [instance(size=512)]), '-v')
    assert 'A700' in done.stdout.upper() or 'OUT OF RESOURCES' in done.stdout.upper().replace('OUTOFRESOURCES', 'OUT OF RESOURCES'), done.stdout
    for identifier, body in stored.items():
        assert client.get('/instances/%s/file' % identifier).content == body
    for identifier in list(stored):
        assert client.delete('/instances/' + identifier).ok
    assert client.upload(bodies[0])['Status'] == 'Success', 'room again'
