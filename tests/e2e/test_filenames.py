"""The names under which clients save what they download (`?filename=`, `Filename`)."""
import http.client
import socket
from urllib.parse import quote, urlsplit

import pytest
from dicom import dicom_bytes, instance
from jobs import create, success

NAMES = [
    (b'"toto".dcm', 'toto.dcm'),
    (b'%22toto%22.dcm', 'toto.dcm'),
    (b'<a>"b"', '<a>b'),
    (b'toto.dcm%22%0D%0ASet-Cookie:evil=1', 'toto.dcmSet-Cookie:evil=1'),
    (b'a%00%09%1b%7f%5cb', 'ab'),
    (b'%C3%A9;a=b', '\u00e9;a=b'),
    (b'..%2Fa', '../a'),
]


class Raw:
    """One connection; requests are sent as they are, which libraries would not do."""

    def __init__(self, server):
        address = urlsplit(server.url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=20)

    def get(self, target, body=b''):
        length = b'Content-Length: %d\r\n' % len(body) if body else b''
        self.socket.sendall(b'GET ' + target + b' HTTP/1.1\r\nHost: x\r\nX-Quoted: "a"\r\n' + length + b'\r\n' + body)
        answer = http.client.HTTPResponse(self.socket)
        answer.begin()
        answer.read()
        return answer

    def close(self):
        self.socket.close()


def disposition(answer):
    value = answer.headers['Content-Disposition'] if isinstance(answer, http.client.HTTPResponse) else answer.headers.get('Content-Disposition')
    return value and value.encode('latin-1').decode()


@pytest.fixture
def stored(server):
    return server.upload(dicom_bytes(instance()))


def test_names_that_clients_wish_for(server, stored):
    study = stored['ParentStudy'].encode()
    data = b'/instances/%s/attachments/dicom/' % stored['ID'].encode()
    for path in (b'/instances/%s/file?' % stored['ID'].encode(), b'/studies/%s/archive?' % study,
                 b'/tools/create-archive?resources=%s&' % study, data + b'data?', data + b'compressed-data?'):
        raw = Raw(server)
        for wish, name in NAMES:
            answer = raw.get(path + b'filename=' + wish)
            assert answer.status == 200 and disposition(answer) == 'filename="%s"' % name, (path, wish)
            assert 'Set-Cookie' not in answer.headers
        raw.close()


def test_names_that_nobody_wished_for(server, stored):
    uuid = server.json('/instances/%s/attachments/dicom/info' % stored['ID'])['Uuid']
    for path, name in [('/instances/%s/file' % stored['ID'], stored['ID'] + '.dcm'),
                       ('/studies/%s/archive' % stored['ParentStudy'], stored['ParentStudy'] + '.zip'),
                       ('/tools/create-archive?resources=%s' % stored['ParentStudy'], 'Archive.zip'),
                       ('/instances/%s/attachments/dicom/data' % stored['ID'], uuid)]:
        assert disposition(server.get(path)) == 'filename="%s"' % name
    for wish in ('', '"', quote('\\')):
        assert disposition(server.get('/instances/%s/file?filename=%s' % (stored['ID'], wish))) is None


def test_the_name_of_an_output_is_given_at_creation(server, stored):
    path = '/studies/%s/archive' % stored['ParentStudy']
    for wish, name in [('a"b\r\nX-Evil: 1.zip', 'abX-Evil: 1.zip'), ('\u00e9.zip', '\u00e9.zip')]:
        made = create(server, path, Filename=wish)
        success(server, made)
        answer = server.get('/jobs/%s/archive' % made)
        assert answer.status_code == 200 and disposition(answer) == 'filename="%s"' % name
        assert 'X-Evil' not in answer.headers


def test_odd_targets_after_other_requests(server, stored):
    """What is put right is the request line, and nothing of bodies and headers."""
    raw = Raw(server)
    for _ in range(3):
        assert raw.get(b'/system?a="b"').status == 200
        # A body that looks like requests.
        assert raw.get(b'/system?<', body=b'GET /?" HTTP/1.1\r\n\r\n' * 100).status == 200
    raw.close()
    for target in (b'/system? a', b'/system?a\rb', b'/\xff'):
        raw = Raw(server)
        assert raw.get(target).status in (400, 404)
        raw.close()
