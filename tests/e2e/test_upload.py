"""Forms that browsers send."""
import gzip

import pytest
from dicom import dicom_bytes, instance

BOUNDARY = '----WebKitFormBoundary7MA4YWxkTrZu0gW'
PLAIN = {'Content-Type': 'multipart/form-data; boundary=' + BOUNDARY}


def part(content, head='Content-Disposition: form-data; name="files[]"; filename="a.dcm"\r\n'):
    return ('--%s\r\n%s\r\n' % (BOUNDARY, head)).encode() + content + b'\r\n'


def end(closing='--'):
    return ('--' + BOUNDARY + closing).encode()


def test_blanks_in_the_headers_of_a_form(server):
    files = [dicom_bytes(instance()) for _ in range(2)]
    head = 'Content-Disposition  :   form-data  ; name ="files[]"   ; filename = "a.dcm"  \r\n'
    body = b''.join(part(f, head) for f in files) + end()
    headers = {'Content-Type': 'multipart/form-data   ;    boundary  =  %s  ' % BOUNDARY}
    answer = server.post('/instances', body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert sorted(one['ID'] for one in answer.json()) == sorted(server.json('/instances'))
    stored = {server.get(one['Path'] + '/file').content for one in answer.json()}
    assert stored == set(files)


@pytest.mark.parametrize('body', [b'', b'junk', part(b'x'), b'--' + BOUNDARY.encode() + b'\r\nA: b'])
def test_what_is_no_form_is_refused(server, body):
    answer = server.post('/instances', body, headers=PLAIN)
    assert answer.status_code == 400 and 'multipart' in answer.json()['Details']
    answer = server.post('/instances', part(b'x') + end(), headers={'Content-Type': 'multipart/form-data'})
    assert answer.status_code == 400 and 'boundary' in answer.json()['Details']


def test_files_of_a_few_bytes_are_refused(server):
    for content in [b'', b'x', b'PK', b'xyz', b'PK\x03\x04', b'DICM']:
        for answer in [server.post('/instances', part(content) + end(), headers=PLAIN), server.post('/instances', content),
                       piece(server, 'few', content, len(content)), server.post('/instances', gzip.compress(content), headers={'Content-Encoding': 'gzip'})]:
            assert answer.status_code == 400 and answer.json()['OrthancStatus'] == 15, (content, answer.text)


def piece(server, name, content, size, **headers):
    """One request of a file that comes piece by piece; the last boundary is not closed."""
    headers = {**PLAIN, 'X-Requested-With': 'XMLHttpRequest', 'X-File-Name': name, 'X-File-Size': str(size), **headers}
    return server.post('/instances', part(content) + end(''), headers=headers)


def test_files_that_come_piece_by_piece(server):
    long, short = dicom_bytes(instance(size=64)), dicom_bytes(instance())
    assert piece(server, 'long.dcm', long[:1000], len(long)).json() == []
    assert piece(server, 'long.dcm', long[1000:2000], len(long)).json() == []
    assert server.json('/instances') == []
    other, = piece(server, 'short.dcm', short, len(short)).json()
    assert server.json('/instances') == [other['ID']]
    done, = piece(server, 'long.dcm', long[2000:], len(long)).json()
    assert server.get(done['Path'] + '/file').content == long
    # It is finished: the same name begins a new file.
    assert piece(server, 'long.dcm', long[:1000], len(long)).json() == []


def test_pieces_that_do_not_fit(server):
    body = dicom_bytes(instance())

    def at(start, end_, content=None):
        content = body[start:end_] if content is None else content
        return piece(server, 'a.dcm', content, len(body), **{'Content-Range': 'bytes %d-%d/%d' % (start, end_ - 1, len(body))})

    assert at(0, 100).status_code == 200
    lost = at(200, 300)
    assert lost.status_code == 400 and 'byte 100' in lost.json()['Details']
    # A piece that breaks off can be sent again.
    headers = {**PLAIN, 'X-File-Name': 'a.dcm', 'X-File-Size': str(len(body))}
    assert server.post('/instances', part(body[100:150])[:-2], headers=headers).status_code == 400
    assert at(100, 200).status_code == 200
    assert at(200, len(body)).json()[0]['Status'] == 'Success'
    assert piece(server, 'b.dcm', body, len(body) - 1).status_code == 400
    assert piece(server, 'b.dcm', body, 'x').status_code == 400
    assert piece(server, 'b.dcm', b'no DICOM', 8).status_code == 400


@pytest.mark.config(MaximumRequestBodySizeMB=1)
def test_a_file_in_pieces_is_no_larger_than_a_body(server):
    assert piece(server, 'a.dcm', b'x', 2 << 20).status_code == 413


def test_a_compressed_body(server):
    body = dicom_bytes(instance(size=512))
    packed = gzip.compress(body)
    for headers, status in [({}, 400), ({'Content-Encoding': 'nope'}, 400), ({'Content-Encoding': 'gzip'}, 200)]:
        assert server.post('/instances', packed, headers=headers).status_code == status
    stored, = server.json('/instances')
    assert server.get('/instances/%s/file' % stored).content == body
    for broken in [packed[:-100], b'no gzip', b'']:
        assert server.post('/instances', broken, headers={'Content-Encoding': 'gzip'}).status_code == 400


@pytest.mark.config(AuthenticationEnabled=True, RegisteredUsers={'alice': 'S3cure'})
def test_a_refusal_reaches_a_client_that_still_sends(server):
    """Clients that send a password only when they are asked for it send the whole body first."""
    big = dicom_bytes(instance(size=2048))
    for _ in range(6):
        assert server.post('/instances', big, headers={'Expect': ''}).status_code == 401
        assert server.post('/instances', big, auth=('alice', 'S3cure')).status_code == 200
