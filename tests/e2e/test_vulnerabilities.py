"""What could be done to Orthanc until 2026, by class; docs/security.md says which test answers which. Neighbours live on each time."""
import gzip
import io
import socket
import struct
import zipfile

import pytest
from client import Client
from dicom import dicom_bytes, instance
from jobs import zipped
from pynetdicom import AE, _config
from test_hostile import MIB, element, healthy, peak_bytes, raw_file  # noqa: F401 (healthy is a fixture)

@pytest.fixture
def server(node):
    """One process: what is refused here never reaches what several share."""
    one = node().start()
    client = Client(one.url, one.dicom_port, one.aet)
    client.nodes = [one]
    return client


META = element(2, 0x10, 'UI', b'1.2.840.10008.1.2.1\0')


def refused(answer):
    """Refused for what was sent, and with a reason."""
    assert answer.status_code in (400, 413) and answer.json()['HttpStatus'] == answer.status_code, (answer.status_code, answer.text)
    return answer


def with_meta(*elements):
    """A good data set behind meta information that is made of these elements."""
    whole = raw_file()
    length = struct.unpack('<I', whole[140:144])[0]
    return whole[:132] + b''.join(elements) + whole[144 + length:]


def test_meta_information_that_lies(healthy):  # noqa: F811
    before = peak_bytes(healthy)
    long = lambda vr, length: struct.pack('<HH2sHI', 2, 0x102, vr, 0, length)  # noqa: E731
    for elements in [
            [element(2, 0, 'UL', struct.pack('<I', 0xffffffff)), META],
            [element(2, 0, 'UL', struct.pack('<I', 3)), META],
            [element(2, 0, 'UL', b''), META],
            [element(2, 0, 'OB', b'\xff' * 4), META],
            [META, long(b'OB', 0xfffffffe)], [META, long(b'OB', 0xffffffff)], [META, long(b'SQ', 0xffffffff)], [META, long(b'UN', 0x7fffffff)],
            [struct.pack('<HH2sH', 2, 0x10, b'UI', 0xffff)], [struct.pack('<HH2sH', 2, 0x10, b'\0\0', 4)], [b'\x02\0'], [],
            [element(2, 0x10, 'UI', b'')], [element(2, 0x10, 'UI', b'9' * 60_000)], [element(2, 0x10, 'UI', b'\xff' * 64)], [META] * 5000]:
        answer = healthy.post('/instances', with_meta(*elements))
        if answer.status_code == 200:
            stored = answer.json()['ID']
            assert healthy.get('/instances/%s/header' % stored).ok and healthy.get('/instances/%s/tags' % stored).ok
        else:
            refused(answer)
    assert peak_bytes(healthy) - before < 32 * MIB


def test_a_compressed_body_that_lies_about_its_size(healthy):  # noqa: F811
    before = peak_bytes(healthy)
    good = gzip.compress(dicom_bytes(instance()))
    for size in [0, 1, 0x7fffffff, 0xffffffff]:
        refused(healthy.post('/instances', good[:-4] + struct.pack('<I', size), headers={'Content-Encoding': 'gzip'}))
    for bad in [good[:-1], good[:10], good[:40] + b'\xff' * 100 + good[140:], b'']:
        refused(healthy.post('/instances', bad, headers={'Content-Encoding': 'gzip'}))
    assert len(healthy.json('/instances')) == 1
    assert healthy.post('/instances', good, headers={'Content-Encoding': 'gzip'}).status_code == 200
    assert peak_bytes(healthy) - before < 32 * MIB


def directory_entries(archive):
    """Where the entries of a ZIP's directory begin."""
    at, found = archive.find(b'PK\x01\x02'), []
    while at >= 0:
        found.append(at)
        at = archive.find(b'PK\x01\x02', at + 4)
    return found


def test_a_zip_that_lies_about_its_files(healthy):  # noqa: F811
    before = peak_bytes(healthy)
    target = io.BytesIO()
    with zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as archive:
        for n in range(3):
            archive.writestr('%d.dcm' % n, dicom_bytes(instance()))
    good = target.getvalue()

    def forged(offset, form, value):
        made = bytearray(good)
        for at in directory_entries(good):
            struct.pack_into(form, made, at + offset, value)
        return bytes(made)
    # Uncompressed and compressed sizes, offsets of the files, lengths of names, methods of compression, checksums.
    for lie in [forged(24, '<I', 0xfffffff0), forged(24, '<I', 0), forged(20, '<I', 0xfffffff0), forged(20, '<I', 0), forged(42, '<I', 0xfffffff0),
                forged(42, '<I', 0), forged(28, '<H', 0xffff), forged(10, '<H', 99), forged(16, '<I', 0), good[:-10], good[:200]]:
        answer = healthy.post('/instances', lie)
        assert answer.status_code in (200, 400), answer.text
    end = good.rfind(b'PK\x05\x06')
    for count in [0, 1, 0xfffe, 0xffff]:
        lie = bytearray(good)
        struct.pack_into('<HH', lie, end + 8, count, count)
        assert healthy.post('/instances', bytes(lie)).status_code in (200, 400)
    assert len(healthy.json('/instances')) <= 1 + 3
    assert peak_bytes(healthy) - before < 48 * MIB


def test_a_terabyte_is_announced(healthy):  # noqa: F811
    before = peak_bytes(healthy)
    port = healthy.nodes[0].config['HttpPort']
    lengths = ['1000000000000', '18446744073709551615', '99999999999999999999999', '-1', '0x10']
    # Of the last, 4 GiB, each is waited for, without a byte of memory: it is below MaximumRequestBodySizeMB.
    for path, length in [('/instances', length) for length in lengths] + [(path, '4294967295') for path in ('/instances', '/tools/find', '/tools/lookup')]:
        with socket.create_connection(('127.0.0.1', port), 10) as s:
            s.sendall(('POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\nabc' % (path, length)).encode())
            if length != '4294967295':
                first = s.recv(12)
                assert first in (b'HTTP/1.1 413', b'HTTP/1.1 400', b'HTTP/1.1 431'), (path, length, first)
    assert peak_bytes(healthy) - before < 16 * MIB


def pixels(**lies):
    """A file whose pixels are not what its header says."""
    ds = instance()
    elements = {
        'Rows': element(0x28, 0x10, 'US', struct.pack('<H', 16)), 'Columns': element(0x28, 0x11, 'US', struct.pack('<H', 16)),
        'SamplesPerPixel': element(0x28, 2, 'US', struct.pack('<H', 1)), 'PhotometricInterpretation': element(0x28, 4, 'CS', b'MONOCHROME2 '),
        'BitsAllocated': element(0x28, 0x100, 'US', struct.pack('<H', 16)), 'BitsStored': element(0x28, 0x101, 'US', struct.pack('<H', 12)),
        'HighBit': element(0x28, 0x102, 'US', struct.pack('<H', 11)), 'PixelRepresentation': element(0x28, 0x103, 'US', b'\0\0'),
        'PixelData': element(0x7fe0, 0x10, 'OW', ds.PixelData), **lies}
    return raw_file(*elements.values())


PALETTE = {'PhotometricInterpretation': element(0x28, 4, 'CS', b'PALETTE COLOR '), 'BitsAllocated': element(0x28, 0x100, 'US', struct.pack('<H', 8))}
LIES = {
    'dimensions of 32 bits': {'Rows': element(0x28, 0x10, 'UL', b'\xff' * 4), 'Columns': element(0x28, 0x11, 'UL', b'\xff' * 4)},
    'dimensions of nothing': {'Rows': element(0x28, 0x10, 'US', b''), 'Columns': element(0x28, 0x11, 'US', b'\0\0')},
    'two thousand million frames': {'NumberOfFrames': element(0x28, 8, 'IS', b'2147483647')},
    'minus one frame': {'NumberOfFrames': element(0x28, 8, 'IS', b'-1')},
    'more bits than there are': {'BitsStored': element(0x28, 0x101, 'US', b'\xff\xff'), 'HighBit': element(0x28, 0x102, 'US', b'\xff\xff')},
    'a palette without entries': {**PALETTE, 'Red': element(0x28, 0x1101, 'US', struct.pack('<HHH', 0xffff, 0xffff, 16)), 'RedData': element(0x28, 0x1201, 'OW', b'')},
    'indices beyond the palette': {**PALETTE, **{'%d' % n: element(0x28, 0x1101 + n, 'US', struct.pack('<HHH', 2, 0, 8)) for n in range(3)},
                                   **{'%ddata' % n: element(0x28, 0x1201 + n, 'OW', b'\0\1') for n in range(3)}},
    'Philips compression': {'Creator': element(0x7a1, 0x10, 'LO', b'ELSCINT1'), 'Compression': element(0x7a1, 0x1011, 'LO', b'PMSCT_RLE1'),
                            'Data': element(0x7a1, 0x100a, 'OW', b'\xa5\xff\xff\x5a\xff' * 20)},
    'no pixels at all': {'PixelData': element(0x7fe0, 0x10, 'OW', b'')},
}


def test_pixels_that_are_not_what_the_header_says(healthy):  # noqa: F811
    """They are kept as they are. What decodes them, once there is something, has to pass here."""
    before = peak_bytes(healthy)
    for name, lies in LIES.items():
        body = pixels(**lies)
        stored = healthy.upload(body)
        one = '/instances/' + stored['ID']
        assert healthy.get(one + '/file').content == body, name
        for path in ['/tags', '/simplified-tags', '/module', '/attachments/dicom/info']:
            assert healthy.get(one + path).status_code == 200, (name, path)
        assert healthy.get('/series/%s/ordered-slices' % stored['ParentSeries']).status_code in (200, 500), name
        assert zipped(healthy.get('/studies/%s/archive' % stored['ParentStudy']).content) == 1, name
        assert zipped(healthy.get('/studies/%s/media' % stored['ParentStudy']).content) == 2, name
        for path in ['/preview', '/rendered', '/image-uint8', '/image-uint16', '/numpy', '/frames/0/raw', '/frames/0/rendered', '/frames/4294967295/raw']:
            assert healthy.get(one + path).status_code in (200, 400, 404, 415, 501), (name, path)
    assert peak_bytes(healthy) - before < 64 * MIB


def test_an_image_that_is_larger_than_it_says(healthy):  # noqa: F811
    image = 'data:image/x-portable-arbitrarymap;base64,UDcKV0lEVEggNDI5NDk2NzI5NQpIRUlHSFQgNDI5NDk2NzI5NQpERVBUSCA0Ck1BWFZBTCA2NTUzNQpFTkRIRFIK'
    answer = healthy.post('/tools/create-dicom', None, json={'Tags': {'PatientID': 'x'}, 'Content': image})
    assert answer.status_code in (400, 501)


def test_nested_sequences_through_the_dicom_door(healthy, tmp_path):  # noqa: F811
    level = struct.pack('<HH2sHI', 0x40, 0x275, b'SQ', 0, 0xffffffff) + struct.pack('<HHI', 0xfffe, 0xe000, 0xffffffff)
    end = struct.pack('<HHIHHI', 0xfffe, 0xe00d, 0, 0xfffe, 0xe0dd, 0)
    paths = []
    for depth in [50_000, 50]:
        body = raw_file(tail=level * depth + end * depth)
        paths.append(tmp_path / ('%d.dcm' % depth))
        uid = body[body.index(b'\x08\0\x18\0UI') + 8:][:64].split(b'\x10\0')[0].rstrip(b'\0')
        meta = element(2, 2, 'UI', b'1.2.840.10008.5.1.4.1.1.2\0') + element(2, 3, 'UI', uid + b'\0' * (len(uid) % 2)) + META
        paths[-1].write_bytes(body[:132] + element(2, 0, 'UL', struct.pack('<I', len(meta))) + meta + body[144 + len(META):])
    ae = AE('PEER')
    ae.add_requested_context('1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1')
    association = ae.associate('127.0.0.1', healthy.dicom_port, ae_title=healthy.aet)
    _config.STORE_SEND_CHUNKED_DATASET = True
    statuses = [association.send_c_store(path).get('Status') for path in paths]
    association.release()
    assert statuses[0] in range(0xc000, 0xd000) and statuses[1] == 0
    for one in healthy.json('/instances'):
        assert healthy.get('/instances/%s/tags' % one).ok and healthy.get('/instances/%s/simplified-tags' % one).ok
        assert healthy.get('/instances/%s/file' % one, headers={'Accept': 'application/dicom+json'}).ok
    assert len(healthy.json('/instances')) == 2


def test_no_answer_can_be_taken_for_a_page(node):
    one = node({'Name': '<script>alert(1)</script>'}).start()
    server = Client(one.url, one.dicom_port)
    for path in ['/%3Cscript%3Ealert(1)%3C/script%3E', '/studies?since=%3Cscript%3E&limit=1', '/changes?type=%3Cscript%3E', '/tools/generate-uid?level=%3Cscript%3E',
                 '/jobs/%3Cscript%3E/archive', '/system']:
        answer = server.get(path)
        assert 'html' not in answer.headers['Content-Type'] and answer.headers['X-Content-Type-Options'] == 'nosniff', path
    assert '<script>' not in server.get('/').text


def test_names_in_an_archive_stay_in_it(healthy):  # noqa: F811
    stored = healthy.upload(raw_file(element(0x10, 0x10, 'PN', b'..\\..\\evil^/etc '), element(8, 0x1030, 'LO', b'../../../../etc/passwd'),
                                     element(8, 0x103e, 'LO', b'C:\\Windows\\..\\..')))
    for path in ['/patients/%s/archive' % stored['ParentPatient'], '/studies/%s/archive' % stored['ParentStudy'], '/series/%s/media' % stored['ParentSeries']]:
        for name in zipfile.ZipFile(io.BytesIO(healthy.get(path).content)).namelist():
            assert not name.startswith('/') and '\\' not in name and ':' not in name and '..' not in name.split('/'), name


BAD_NAMES = [
    ('PUT', '/studies/{study}/labels/a%20b', None), ('PUT', '/studies/{study}/labels/%C3%A9', None), ('PUT', '/studies/{study}/labels/' + 'x' * 65, None),
    ('PUT', '/studies/{study}/labels/a%0d%0ab', None), ('PUT', '/studies/{study}/metadata/a%20b', 'x'), ('PUT', '/studies/{study}/metadata/1023', 'x'),
    ('PUT', '/studies/{study}/metadata/65536', 'x'), ('PUT', '/studies/{study}/attachments/..%2f..%2fx', 'x'), ('PUT', '/studies/{study}/attachments/dicom', 'x'),
    ('PUT', '/modalities/x', '["A\\\\B", "h", 104]'), ('PUT', '/modalities/x', '["AAAAAAAAAAAAAAAAA", "h", 104]'), ('PUT', '/modalities/x', '["A", "h\\u0000", 104]'),
    ('PUT', '/peers/x', '["http://h/\\r\\nX: y"]'), ('PUT', '/peers/x', '["file:///etc/passwd"]'), ('PUT', '/peers/x', '["gopher://h/"]')]


def test_names_outside_their_alphabet(healthy):  # noqa: F811
    [study] = healthy.json('/studies')
    for method, path, body in BAD_NAMES:
        answer = healthy.request(method, path.format(study=study), data=body)
        assert answer.status_code in (400, 403, 404) and answer.json()['OrthancError'], (path, body, answer.status_code, answer.text)
    assert healthy.json('/modalities') == healthy.json('/peers') == healthy.json('/tools/labels') == []
