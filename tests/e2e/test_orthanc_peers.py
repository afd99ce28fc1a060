"""`/peers`: other Orthancs, and what is sent to them."""
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from certificates import authority, certificate
from client import Client
from dicom import dicom_bytes, instance
from jobs import create, job, success, wait_for, wait_for_state
from orthanc_peer import STORED, OrthancPeer

DEFAULTS = {'HttpHeaders': [], 'Pkcs11': False, 'Timeout': 0}
# A port that nobody listens on.
NOBODY = 'http://127.0.0.1:1/'


@pytest.fixture
def peer():
    with OrthancPeer() as peer:
        yield peer


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('certificates')
    authority(folder, 'ca')
    authority(folder, 'other')
    certificate(folder, 'server', 'localhost')
    certificate(folder, 'client', 'client')
    return folder


def put(server, name, definition):
    body = definition if isinstance(definition, str) else json.dumps(definition)
    return server.request('PUT', '/peers/' + name, data=body)


def logs(server):
    return ''.join(node.log for node in server.nodes)


def test_peers_come_and_go(server):
    assert server.json('/peers') == [] and server.json('/peers?expand') == {}
    assert put(server, 'a', ['http://127.0.0.1:8042']).status_code == 200
    assert put(server, 'b', {'URL': 'https://h/x/', 'Username': 'u', 'Password': 'secret', 'HttpHeaders': {'X-A': 'secret', 'X-B': 'secret'},
                             'CertificateFile': '/c.pem', 'CertificateKeyFile': '/k.pem', 'CertificateKeyPassword': 'secret',
                             'Timeout': 7, 'RemoteSelf': 'me', 'Flag': True}).text == ''
    a = {**DEFAULTS, 'Url': 'http://127.0.0.1:8042/'}
    b = {'Url': 'https://h/x/', 'Username': 'u', 'Password': None, 'HttpHeaders': ['X-A', 'X-B'], 'CertificateFile': '/c.pem',
         'CertificateKeyFile': None, 'CertificateKeyPassword': None, 'Pkcs11': False, 'Timeout': 7, 'RemoteSelf': 'me', 'Flag': '1'}
    assert server.json('/peers') == server.json('/peers?expand=false') == ['a', 'b']
    assert server.json('/peers?expand') == server.json('/peers?expand=true') == {'a': a, 'b': b}
    assert server.json('/peers/a') == ['configuration', 'store', 'store-straight', 'system']
    assert server.json('/peers/b/configuration') == b
    assert put(server, 'a', ['http://h', 'u', 'secret']).status_code == 200
    assert server.json('/peers/a/configuration') == {**DEFAULTS, 'Url': 'http://h/', 'Username': 'u', 'Password': None}
    assert server.delete('/peers/a').status_code == 200
    assert server.json('/peers') == ['b']
    assert server.get('/peers/b/nope').status_code == 404
    assert server.request('PUT', '/peers/b/store').status_code == 405
    assert 'secret' not in logs(server)


def test_unknown_peers_are_named(server):
    identifier = server.upload(dicom_bytes(instance()))['ID']
    for method, path, body, status in [
            ('GET', '', None, 17), ('GET', '/configuration', None, 17), ('GET', '/system', None, 17), ('DELETE', '', None, 7),
            ('POST', '/store', identifier, 17), ('POST', '/store-straight', b'x', 17)]:
        answer = server.request(method, '/peers/nope' + path, data=body)
        assert answer.status_code == 404, path
        assert answer.json()['OrthancStatus'] == status and 'nope' in answer.json()['Details'], path


@pytest.mark.parametrize('definition, status, word', [
    ('junk', 15, 'JSON'),
    ('', 15, 'JSON'),
    (5, 15, 'expected'),
    ([], 15, 'expected'),
    (['http://h', 'secret'], 15, 'expected'),
    ([5], 15, 'Url'),
    ({}, 15, 'Empty URL'),
    (['ftp://u:secret@h'], 15, 'Bad URL'),
    ({'Url': 'http://h', 'Password': 'secret'}, 15, 'Username'),
    ({'Url': 'http://h', 'HttpHeaders': {'a b': 'secret'}}, 15, 'a b'),
    ({'Url': 'http://h', 'HttpHeaders': {'a': 'secret\r\nb: c'}}, 15, 'HttpHeaders'),
    ({'Url': 'http://h', 'Timeout': -1}, 5, 'Timeout'),
    ({'Url': 'http://h', 'Foo': {}}, 15, 'Foo'),
])
def test_bad_definitions_are_refused(node, definition, status, word):
    one = node().start()
    server = Client(one.url, one.dicom_port)
    answer = put(server, 'x', definition)
    assert (answer.status_code, answer.json()['OrthancStatus']) == (400, status), answer.text
    assert word in answer.json()['Details'] and 'secret' not in answer.text
    assert put(server, 'a.b', ['http://h']).json()['OrthancStatus'] == 15
    assert server.json('/peers') == [] and 'secret' not in one.log


def test_every_process_knows_at_once(server):
    for number in range(30):
        assert put(server, 'p', ['http://h:%d/' % number]).status_code == 200
        assert server.json('/peers/p/configuration')['Url'] == 'http://h:%d/' % number
    assert server.delete('/peers/p').status_code == 200
    assert server.json('/peers') == []


def test_system_and_straight(server, peer):
    assert put(server, 'p', {'Url': peer.url, 'Username': 'u', 'Password': 'ü:x', 'HttpHeaders': {'X-Token': 't'}}).status_code == 200
    assert server.json('/peers/p/system') == {'Name': 'peer', 'Version': '0.8.6'}
    body = dicom_bytes(instance())
    assert server.post('/peers/p/store-straight', body).json() == STORED
    assert server.post('/peers/p/store-straight', iter([body[:200], body[200:]])).json() == STORED
    assert peer.stored == [body, body] and server.json('/instances') == []
    for method, path, headers, _ in peer.requests:
        assert (method, path) in [('GET', '/system'), ('POST', '/instances')]
        assert headers['Authorization'] == 'Basic dTrDvDp4' and headers['X-Token'] == 't'
    assert put(server, 'wrong', [peer.url + 'wrong']).status_code == put(server, 'nobody', [NOBODY]).status_code == 200
    for name, word in [('wrong', '404'), ('nobody', 'http://127.0.0.1:1/system')]:
        answer = server.get('/peers/%s/system' % name)
        assert (answer.status_code, answer.json()['OrthancStatus']) == (500, 9) and word in answer.json()['Details']
    peer.status = 400
    answer = server.post('/peers/p/store-straight', body)
    assert (answer.status_code, answer.json()['OrthancStatus']) == (500, 9) and '400' in answer.json()['Details']


@pytest.mark.config(LogExportedResources=True)
def test_store_is_a_job_with_orthancs_content(server, peer):
    bodies = [dicom_bytes(instance('1.2.3', '1.2.3.4', InstanceNumber=n)) for n in range(3)]
    answers = [server.upload(body) for body in bodies]
    study, first = answers[0]['ParentStudy'], answers[0]['ID']
    definition = {'Url': peer.url, 'Username': 'u', 'Password': 'secret', 'HttpHeaders': {'X-Token': 'secret'}}
    assert put(server, 'p', definition).status_code == put(server, 'simple', [peer.url, 'u', 'secret']).status_code == 200
    size = sum(map(len, bodies))
    content = {
        'Compress': False, 'Description': 'REST API', 'FailedInstancesCount': 0, 'InstancesCount': 3, 'ParentResources': [study],
        'Peer': {'HttpHeaders': {'X-Token': ''}, 'Pkcs11': False, 'Timeout': 0, 'Url': peer.url, 'Username': 'u'},
        'Resources': [{'ID': study, 'Type': 'Study'}], 'Size': str(size), 'SizeMB': 0}
    assert server.post('/peers/p/store', study).json() == content
    assert peer.stored == bodies
    made = create(server, '/peers/simple/store', Resources=[first], Compress=True, Priority=3, UserData='mine')
    done = success(server, made)
    sent = peer.requests[-1]
    assert (done['Type'], done['Priority'], done['UserData']) == ('OrthancPeerStore', 3, 'mine')
    assert done['Content']['Peer'] == [peer.url, 'u', ''] and done['Content']['Compress'] is True
    assert int(done['Content']['Size']) == sent[3] < len(bodies[0]) and sent[2]['Content-Encoding'] == 'gzip'
    assert peer.stored[3] == bodies[0]
    steps = server.json('/jobs/%s/steps' % made)
    assert [(step['Instance'], step['Size']) for step in steps] == [(first, sent[3])]
    assert server.post('/peers/p/store', '[]').json()['InstancesCount'] == 0
    exports = server.json('/exports')['Exports']
    assert [(e['RemoteModality'], e['ResourceType'], e['ID']) for e in exports] == [('p', 'Study', study), ('simple', 'Instance', first)]
    assert 'secret' not in server.get('/jobs?expand').text + logs(server)


def test_exports_are_not_logged_unless_wanted(server, peer):
    identifier = server.upload(dicom_bytes(instance()))['ID']
    assert put(server, 'p', [peer.url]).status_code == server.post('/peers/p/store', identifier).status_code == 200
    assert server.json('/exports')['Exports'] == []


def test_what_fails_fails_or_is_counted(server, peer):
    answers = [server.upload(dicom_bytes(instance())) for _ in range(3)]
    ids = [answer['ID'] for answer in answers]
    assert put(server, 'p', [peer.url]).status_code == put(server, 'nobody', [NOBODY]).status_code == 200
    answer = server.post('/peers/nobody/store', json.dumps(ids))
    assert (answer.status_code, answer.json()['OrthancStatus']) == (500, 9), answer.text
    peer.status = 403
    answer = server.post('/peers/p/store', json.dumps(ids))
    assert (answer.status_code, answer.json()['OrthancStatus']) == (500, 9) and '403' in answer.json()['Details'], answer.text
    permissive = server.post('/peers/p/store', json.dumps({'Resources': ids, 'Permissive': True})).json()
    assert (permissive['FailedInstancesCount'], permissive['InstancesCount']) == (3, 3)
    peer.status, peer.requests[:] = 200, []
    peer.broken = lambda number: number == 2
    permissive = server.post('/peers/p/store', json.dumps({'Resources': ids, 'Permissive': True})).json()
    assert permissive['FailedInstancesCount'] == 1 and len(peer.stored) == 2
    failed = [state for state in server.json('/jobs?expand') if state['State'] == 'Failure']
    assert {state['ErrorCode'] for state in failed} == {9}


@pytest.mark.parametrize('body, status, word', [
    ('5', 400, 'JSON'),
    ('{}', 400, 'Resources'),
    ('["nope"]', 400, 'nope'),
    ('{"Resources": [], "Compress": 1}', 400, 'Compress'),
    ('{"Resources": [], "Permissive": 1}', 400, 'Permissive'),
    ('{"Resources": [], "Transcode": "1.2"}', 400, '1.2'),
    ('{"Resources": [], "Transcode": "1.2.840.10008.1.2.4.70"}', 501, 'Transcode'),
    ('["00000000-00000000-00000000-00000000-00000000"]', 404, ''),
])
def test_bad_bodies_are_refused(node, body, status, word):
    one = node({'OrthancPeers': {'p': [NOBODY]}}).start()
    answer = Client(one.url, one.dicom_port).post('/peers/p/store', body)
    assert answer.status_code == status and word in answer.json().get('Details', ''), answer.text


def test_a_job_that_is_cancelled_ends_at_once(server, peer):
    ids = [server.upload(dicom_bytes(instance()))['ID'] for _ in range(2)]
    assert put(server, 'p', [peer.url]).status_code == 200
    peer.gate.clear()
    made = create(server, '/peers/p/store', Resources=ids)
    wait_for_state(server, made, 'Running')
    assert server.post('/jobs/%s/cancel' % made, '{}').status_code == 200
    assert wait_for_state(server, made, 'Failure', seconds=10)['ErrorDescription'] == 'This job was canceled'


def test_a_damaged_file_is_not_stored_by_the_peer(node, peer):
    one = node({'OrthancPeers': {'p': [peer.url]}}).start()
    server = Client(one.url, one.dicom_port)
    identifier = server.upload(dicom_bytes(instance(size=300)))['ID']
    stored = next(file for file in one.storage.rglob('*') if file.is_file() and file.stat().st_size > 100_000 and len(file.name) == 36)
    damaged = bytearray(stored.read_bytes())
    damaged[-5] ^= 1
    stored.write_bytes(damaged)
    answer = server.post('/peers/p/store', identifier)
    assert answer.status_code == 500 and identifier in answer.json()['Details'], answer.text
    assert peer.stored == []


def test_a_send_goes_on_in_another_process(cluster, peer):
    """kill -9 of the process that sends: what was answered is not sent twice, and nothing is missing."""
    cluster = cluster().start()
    client = Client(cluster.gateway.url, cluster.gateway.dicom_port)
    bodies = [dicom_bytes(instance('1.2.3', '1.2.3.4', InstanceNumber=n)) for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        study = list(pool.map(client.upload, bodies))[0]['ParentStudy']
    assert put(client, 'p', [peer.url]).status_code == 200
    peer.broken = lambda number: number == 20 and (peer.gate.clear() or True)
    made = create(client, '/peers/p/store', Resources=[study], Permissive=True)
    wait_for(lambda: not peer.gate.is_set())
    pids = [one['Pid'] for one in client.json('/cluster/nodes') if one['RunningJobs']]
    for one in cluster.nodes:
        if one.process.pid in pids:
            one.kill()
    peer.gate.set()
    done = success(client, made)
    assert done['Content']['InstancesCount'] == 40 and set(peer.stored) <= set(bodies)
    assert len(set(peer.stored)) >= 40 - done['Content']['FailedInstancesCount']


def test_the_configuration_seeds_and_clients_change(node, tmp_path):
    config = {'OrthancPeers': {'a': ['http://a'], 'b': ['http://b', 'u', 'secret']}}
    one = node(config).start()
    server = Client(one.url, one.dicom_port)
    assert server.json('/peers') == ['a', 'b']
    assert put(server, 'a', ['http://changed']).status_code == server.delete('/peers/b').status_code == put(server, 'c', ['http://c']).status_code
    one.stop()
    one.start()
    assert server.json('/peers') == ['a', 'c'] and server.json('/peers/a/configuration')['Url'] == 'http://changed/'
    one.stop()
    one.config['OrthancPeers'] = {'a': ['http://new'], 'b': ['http://b', 'u', 'secret']}
    one.start()
    assert server.json('/peers/a/configuration')['Url'] == 'http://new/'
    one.stop()
    one.config.update(OrthancPeers={'d': ['http://d']}, OrthancPeersInDatabase=True)
    one.start()
    assert 'd' not in server.json('/peers') and 'c' in server.json('/peers')


def test_no_secret_is_in_the_rows_of_jobs(node, peer):
    one = node({'OrthancPeers': {'p': {'Url': peer.url, 'Username': 'u', 'Password': 'secret', 'HttpHeaders': {'X': 'secret'}}}}).start()
    server = Client(one.url, one.dicom_port)
    success(server, create(server, '/peers/p/store', Resources=[server.upload(dicom_bytes(instance()))['ID']]))
    one.stop()
    index = sqlite3.connect(next(one.storage.glob('*.sqlite')))
    tables = [name for name, in index.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'job%'")]
    rows = [row for table in tables for row in index.execute('SELECT * FROM "%s"' % table)]
    assert 'OrthancPeerStore' in str(rows) and 'secret' not in str(rows)


def test_https_with_certificates_on_both_sides(node, folder):
    with OrthancPeer(folder / 'server.pem', folder / 'server.key', folder / 'ca.pem') as peer:
        mutual = {'Url': peer.url, 'CertificateFile': str(folder / 'client.pem'), 'CertificateKeyFile': str(folder / 'client.key')}
        ip = {**mutual, 'Url': peer.url.replace('localhost', '127.0.0.1')}
        missing = {**mutual, 'CertificateFile': '/nowhere.pem'}
        peers = {'mutual': mutual, 'none': [peer.url], 'ip': ip, 'missing': missing, 'token': {**mutual, 'Pkcs11': True}}
        one = node({'OrthancPeers': peers, 'HttpsCACertificates': str(folder / 'ca.pem')}).start()
        server = Client(one.url, one.dicom_port)
        assert server.json('/peers/mutual/system')['Name'] == 'peer'
        identifier = server.upload(dicom_bytes(instance()))['ID']
        assert server.post('/peers/mutual/store', identifier).json()['FailedInstancesCount'] == 0
        for name, status, code in [('none', 500, 9), ('ip', 500, 9), ('missing', 404, 13), ('token', 501, 2)]:
            answer = server.get('/peers/%s/system' % name)
            assert (answer.status_code, answer.json()['OrthancStatus']) == (status, code), answer.text
        assert [path for _, path, _, _ in peer.requests] == ['/system', '/instances']


@pytest.mark.parametrize('options, trusted', [
    ({}, False),
    ({'HttpsCACertificates': 'other'}, False),
    ({'HttpsCACertificates': 'other', 'HttpsVerifyPeers': False}, True),
])
def test_only_trusted_servers_are_called(node, folder, options, trusted):
    if 'HttpsCACertificates' in options:
        options = {**options, 'HttpsCACertificates': str(folder / (options['HttpsCACertificates'] + '.pem'))}
    with OrthancPeer(folder / 'server.pem', folder / 'server.key') as peer:
        one = node({'OrthancPeers': {'p': [peer.url]}, **options}).start()
        answer = Client(one.url, one.dicom_port).get('/peers/p/system')
        assert answer.status_code == (200 if trusted else 500)
        assert bool(peer.requests) == trusted
        assert trusted or 'certificate' in answer.json()['Details'].lower(), answer.text
    assert ('HttpsVerifyPeers is false' in one.log) == trusted


def test_times_and_proxies(node, peer):
    config = {'HttpTimeout': 1, 'OrthancPeers': {'slow': [peer.url], 'patient': {'Url': peer.url, 'Timeout': 30}}}
    one = node(config).start()
    server = Client(one.url, one.dicom_port)
    peer.gate.clear()
    answer = server.post('/peers/slow/store-straight', dicom_bytes(instance()))
    assert answer.status_code == 500 and 'in time' in answer.json()['Details'], answer.text
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(server.post, '/peers/patient/store-straight', dicom_bytes(instance()))
        assert not peer.gate.wait(1.5) and not waiting.done()
        peer.gate.set()
        assert waiting.result().status_code == 200
    proxied = node({'HttpProxy': 'me:secret@127.0.0.1:%d' % peer.port, 'OrthancPeers': {'far': ['http://far.invalid/']}}).start()
    answer = Client(proxied.url, proxied.dicom_port).get('/peers/far/system')
    assert peer.requests[-1][1] == 'http://far.invalid/system' and answer.status_code == 500
    assert 'secret' not in proxied.log + answer.text


def test_two_servers_are_peers_of_each_other(server, node):
    other = node(name='other').start()
    there = Client(other.url, other.dicom_port)
    body = dicom_bytes(instance(size=100))
    identifier = server.upload(body)['ID']
    assert put(server, 'other', [other.url]).status_code == 200
    assert server.json('/peers/other/system')['Version'] == '1.13.0'
    for compress in [False, True]:
        sent = server.post('/peers/other/store', json.dumps({'Resources': [identifier], 'Compress': compress}))
        assert sent.status_code == 200, sent.text
        assert there.get('/instances/%s/file' % identifier).content == body
        assert there.delete('/instances/' + identifier).status_code == 200
    assert job(server, server.json('/jobs')[0])['State'] == 'Success'
    straight = server.post('/peers/other/store-straight', body).json()
    assert (straight['ID'], straight['Status']) == (identifier, 'Success')
