"""The options of the HTTP server: HTTPS, limits, proxies, compression, hashed passwords."""
import http.client
import json
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from certificates import authority, certificate
from client import Client
from dicom import dicom_bytes, instance
from jobs import wait_for
from node import START_SECONDS

# Of "secret", made by the reference implementation.
HASH = '{argon2}$argon2id$v=19$m=19456,t=2,p=1$TnNENIMeLRvqw/9I9+8LOQ$s0z/090D4x6vIyISy6XvqTVGEoYC280addvdsBnqj7c'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('certificates')
    authority(folder, 'ca')
    authority(folder, 'other')
    certificate(folder, 'server', 'localhost')
    certificate(folder, 'client', 'client')
    certificate(folder, 'stranger', 'client', 'other')
    (folder / 'both.pem').write_bytes((folder / 'server.pem').read_bytes() + (folder / 'server.key').read_bytes())
    return folder


def secure(node, folder, **options):
    """A node that speaks HTTPS, and its URL."""
    one = node({'SslEnabled': True, 'SslCertificate': str(folder / 'both.pem'), **options})
    one.spawn()
    wait_for(lambda: 'ready' in one.log or one.process.poll() is not None, START_SECONDS)
    assert one.process.poll() is None, one.log
    return one, 'https://localhost:%d' % one.config['HttpPort']


def refused(node, words, **options):
    one = node(options)
    assert one.spawn().wait(START_SECONDS) == 255
    assert all(word in one.log for word in words), one.log


def handshake(one, folder, configure=lambda context: None):
    """The version and cipher that both sides agree on."""
    context = ssl.create_default_context(cafile=folder / 'ca.pem')
    configure(context)
    with socket.create_connection(('127.0.0.1', one.config['HttpPort']), 10) as plain:
        with context.wrap_socket(plain, server_hostname='localhost') as encrypted:
            return encrypted.version(), encrypted.cipher()[0]


def tls12(context):
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def raw(one, seconds=10):
    connection = socket.create_connection(('127.0.0.1', one.config['HttpPort']), seconds)
    connection.settimeout(seconds)
    return connection


def everything(connection):
    received = b''
    while piece := connection.recv(65536):
        received += piece
    return received


def test_https(node, folder):
    one, url = secure(node, folder)
    session = requests.Session()
    session.trust_env = False
    session.verify = str(folder / 'ca.pem')
    body = dicom_bytes(instance(size=400))
    stored = session.post(url + '/instances', data=body).json()
    assert session.get(url + '/instances/%s/file' % stored['ID']).content == body
    assert handshake(one, folder)[0] == 'TLSv1.3' and handshake(one, folder, tls12)[0] == 'TLSv1.2'
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get('http://localhost:%d/system' % one.config['HttpPort'], timeout=10)
    # Who connects and says nothing holds up nobody.
    with raw(one), raw(one):
        assert session.get(url + '/system').ok
    assert 'https://' in one.log
    status, seconds = one.stop()
    assert status == 0


def test_the_minimum_version_and_ciphers(node, folder):
    one, _ = secure(node, folder, SslMinimumProtocolVersion=5)
    assert handshake(one, folder)[0] == 'TLSv1.3'
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(one, folder, tls12)
    one, _ = secure(node, folder, SslCiphersAccepted=['ECDHE-ECDSA-AES256-GCM-SHA384', 'AES256-SHA'])
    assert handshake(one, folder, tls12) == ('TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384')
    assert 'AES256-SHA' in one.log
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(one, folder, lambda c: (tls12(c), c.set_ciphers('ECDHE-ECDSA-AES128-GCM-SHA256')))


def test_clients_must_show_a_certificate(node, folder):
    one, url = secure(node, folder, SslVerifyPeers=True, SslTrustedClientCertificates=str(folder / 'ca.pem'))
    pair = lambda name: (str(folder / (name + '.pem')), str(folder / (name + '.key')))  # noqa: E731
    assert requests.get(url + '/system', verify=str(folder / 'ca.pem'), cert=pair('client'), timeout=10).ok
    for cert in [None, pair('stranger')]:
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url + '/system', verify=str(folder / 'ca.pem'), cert=cert, timeout=10)


@pytest.mark.parametrize('options, words', [
    ({}, ['SslCertificate', 'certificate.pem']),
    ({'SslCertificate': 'server'}, ['SslCertificate', 'key']),
    ({'SslCertificate': 'both', 'SslVerifyPeers': True}, ['SslTrustedClientCertificates', 'trustedClientCertificates.pem']),
    ({'SslCertificate': 'both', 'SslMinimumProtocolVersion': 6}, ['SslMinimumProtocolVersion', '6']),
    ({'SslCertificate': 'both', 'SslCiphersAccepted': ['AES256-SHA']}, ['SslCiphersAccepted', 'ECDHE-RSA-AES256-GCM-SHA384']),
])
def test_what_cannot_be_encrypted_does_not_start(node, folder, options, words):
    if 'SslCertificate' in options:
        options = {**options, 'SslCertificate': str(folder / (options['SslCertificate'] + '.pem'))}
    refused(node, words, SslEnabled=True, **options)


def test_hashed_and_plain_passwords(node):
    one = node({'AuthenticationEnabled': True, 'RegisteredUsers': {'alice': HASH, 'bob': 'plain'}}).start()
    for auth, status in [(('alice', 'secret'), 200), (('bob', 'plain'), 200), (('alice', 'wrong'), 401), (('alice', HASH), 401),
                         (('bob', 'secret'), 401), (('carol', 'secret'), 401)]:
        assert requests.get(one.url + '/system', auth=auth, timeout=20).status_code == status, auth
    # The second time, nothing has to be computed.
    begin = time.monotonic()
    for _ in range(20):
        assert requests.get(one.url + '/system', auth=('alice', 'secret'), timeout=20).ok
    assert time.monotonic() - begin < 5
    refused(node, ['RegisteredUsers', 'alice', '{argon2}'], RegisteredUsers={'alice': '{argon2}hide'})


@pytest.mark.config(HttpCompressionEnabled=True)
def test_text_is_compressed_for_those_who_take_it(server):
    body = dicom_bytes(instance(size=100))
    identifier = server.upload(body)['ID']
    for path, encodings, expected in [
            ('/instances/%s/tags', 'gzip, deflate', 'gzip'), ('/instances/%s/tags', 'deflate', 'deflate'), ('/instances/%s/tags', '', None),
            ('/instances/%s/file', 'gzip', None), ('/instances/%s/metadata', 'gzip', None), ('/instances/%s/nope', 'gzip', None)]:
        answer = server.get(path % identifier, headers={'Accept-Encoding': encodings})
        assert answer.headers.get('Content-Encoding') == expected, path
        if path.endswith('tags'):
            assert answer.json()['0010,0010']['Value'] == 'Doe^Jane' and 'accept-encoding' in answer.headers['Vary'].lower()
    assert server.get('/instances/%s/file' % identifier).content == body


def test_nothing_is_compressed_by_default(node):
    one = node().start()
    server = Client(one.url, one.dicom_port)
    identifier = server.upload(dicom_bytes(instance()))['ID']
    answer = server.get('/instances/%s/tags' % identifier, headers={'Accept-Encoding': 'gzip'})
    assert len(answer.content) > 2048 and 'Content-Encoding' not in answer.headers and 'Vary' not in answer.headers


def test_connections_are_kept_as_long_as_configured(node):
    one = node({'KeepAliveTimeout': 1}).start()
    connection = http.client.HTTPConnection('127.0.0.1', one.config['HttpPort'], timeout=20)
    for _ in range(3):
        connection.request('GET', '/system')
        assert connection.getresponse().read()
    own = connection.sock
    begin = time.monotonic()
    assert own.recv(1) == b'' and 0.5 < time.monotonic() - begin < 10
    closed = node({'KeepAlive': False}).start()
    with raw(closed) as plain:
        plain.sendall(b'GET /system HTTP/1.1\r\nHost: h\r\n\r\n')
        assert everything(plain).startswith(b'HTTP/1.1 200')


def test_slow_clients_are_left(node):
    one = node({'HttpRequestTimeout': 1}).start()
    server = Client(one.url, one.dicom_port)
    big = server.upload(dicom_bytes(instance(size=3000)))['ID']
    begin = time.monotonic()
    with raw(one, 20) as head, raw(one, 20) as body, raw(one, 20) as answer:
        head.sendall(b'GET /sys')
        body.sendall(b'POST /instances HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc')
        answer.sendall(b'GET /instances/%s/file HTTP/1.1\r\nHost: h\r\n\r\n' % big.encode())
        everything(head)
        assert b'400 Bad Request' in everything(body)
        time.sleep(3)
        try:
            received = len(everything(answer))
        except ConnectionError:
            received = 0
        assert received < 18_000_000
    assert time.monotonic() - begin < 20
    # A body that comes slowly, but comes, is taken.
    slow = dicom_bytes(instance())
    pieces = [slow[:100], slow[100:200], slow[200:]]
    answer = server.post('/instances', (time.sleep(0.6) or piece for piece in pieces))
    assert answer.status_code == 200, answer.text


def test_only_so_many_requests_run_at_once(node):
    one = node({'HttpThreadsCount': 2}).start()
    server = Client(one.url, one.dicom_port)
    body = dicom_bytes(instance())
    gate = threading.Event()

    def slow():
        yield body[:100]
        gate.wait(30)
        yield body[100:]

    with ThreadPoolExecutor() as pool:
        running = [pool.submit(requests.post, one.url + '/instances', slow(), timeout=60) for _ in range(2)]
        wait_for(lambda: times_out(one.url + '/system'), 20)
        assert requests.get(one.url + '/readyz', timeout=10).ok
        gate.set()
        assert {answer.result().status_code for answer in running} == {200}
    assert server.json('/system')


def times_out(url):
    try:
        requests.get(url, timeout=0.5)
        return False
    except requests.exceptions.Timeout:
        return True


@pytest.mark.parametrize('body', [b'x' * (1 << 20) + b'y', iter([b'x' * (1 << 20), b'y'])], ids=['announced', 'chunked'])
def test_bodies_that_are_too_large_are_refused(node, body):
    one = node({'MaximumRequestBodySizeMB': 1}).start()
    answer = Client(one.url, one.dicom_port).post('/instances', body)
    assert answer.status_code == 413 and 'MaximumRequestBodySizeMB' in answer.json()['Details']


@pytest.mark.parametrize('trusted, headers, expected', [
    ([], {'X-Forwarded-For': '192.0.2.1'}, '127.0.0.1'),
    (['10.0.0.0/8'], {'X-Forwarded-For': '192.0.2.1'}, '127.0.0.1'),
    (['127.0.0.1'], {'X-Forwarded-For': '192.0.2.1'}, '192.0.2.1'),
    (['127.0.0.0/8'], {'X-Forwarded-For': '6.6.6.6, 192.0.2.1, 127.0.0.2'}, '192.0.2.1'),
    (['127.0.0.1'], {'Forwarded': 'for="[2001:db8::1]:4711";host=h', 'X-Forwarded-For': '6.6.6.6'}, '2001:db8::1'),
    (['127.0.0.1'], {'Forwarded': 'for=unknown'}, '127.0.0.1'),
])
def test_trusted_proxies_say_who_calls(node, trusted, headers, expected):
    one = node({'TrustedProxies': trusted, 'RemoteAccessAllowed': True, 'AuthenticationEnabled': False}).start()
    answer = requests.post(one.url + '/instances', dicom_bytes(instance()), headers=headers, timeout=20).json()
    metadata = requests.get(one.url + '/instances/%s/metadata?expand' % answer['ID'], timeout=20).json()
    assert metadata['RemoteIP'] == expected


def test_strangers_stay_outside_also_behind_a_trusted_proxy(node):
    one = node({'TrustedProxies': ['127.0.0.1']}).start()
    status = lambda **headers: requests.get(one.url + '/system', headers=headers, timeout=20).status_code  # noqa: E731
    assert status() == 200 and status(**{'X-Forwarded-For': '127.0.0.1'}) == 200
    assert status(**{'X-Forwarded-For': '192.0.2.1'}) == 403
    refused(node, ['TrustedProxies', 'nowhere'], TrustedProxies=['nowhere'])


@pytest.mark.config(TrustedProxies=['127.0.0.1'], RemoteAccessAllowed=True, AuthenticationEnabled=False)
def test_the_gateway_tells_who_calls(cluster, request):
    """HAProxy as in `deploy`: what a client claims itself is removed."""
    cluster = cluster(request.node.get_closest_marker('config').kwargs).start()
    client = Client(cluster.gateway.url, cluster.gateway.dicom_port)
    answer = client.post('/instances', dicom_bytes(instance()), headers={'X-Forwarded-For': '6.6.6.6', 'Forwarded': 'for=6.6.6.6'}).json()
    assert json.dumps(client.json('/instances/%s/metadata?expand' % answer['ID'])).count('127.0.0.1') == 1
