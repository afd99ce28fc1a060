"""`/modalities`, `/tools/dicom-echo`: what every process knows of other DICOM nodes."""
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from client import Client
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

OPERATIONS = ['configuration', 'echo', 'find', 'find-instance', 'find-patient', 'find-series', 'find-study', 'find-worklist', 'get',
              'move', 'query', 'storage-commitment', 'store', 'store-straight']
DEFAULTS = {
    'AllowEcho': True, 'AllowEventReport': True, 'AllowFind': True, 'AllowFindWorklist': True, 'AllowGet': True, 'AllowMove': True,
    'AllowNAction': True, 'AllowStore': True, 'AllowTranscoding': True, 'LocalAet': '', 'Manufacturer': 'Generic',
    'RetrieveMethod': 'SystemDefault', 'Timeout': 0, 'UseDicomTls': False}


def put(server, name, definition):
    body = definition if isinstance(definition, str) else json.dumps(definition)
    return server.request('PUT', '/modalities/' + name, data=body)


class Scp:
    """A DICOM node that remembers who called."""

    def __init__(self, contexts=(Verification,), echo=0x0000, find=0x0000):
        self.calls, self.queries = [], []
        ae = AE('SCP')
        for context in contexts:
            ae.add_supported_context(context)
        handlers = [(evt.EVT_ACCEPTED, self.accepted), (evt.EVT_C_ECHO, lambda _: echo), (evt.EVT_C_FIND, self.find)]
        self.status = find
        self.server = ae.start_server(('127.0.0.1', 0), block=False, evt_handlers=handlers)
        self.port = self.server.server_address[1]

    def accepted(self, event):
        self.calls.append((event.assoc.requestor.ae_title, event.assoc.requestor.primitive.called_ae_title))

    def find(self, event):
        self.queries.append(event.identifier)
        yield self.status, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()


def test_modalities_come_and_go(server):
    assert server.json('/modalities') == [] and server.json('/modalities?expand') == {}
    assert put(server, 'a', ['A', '127.0.0.1', 104]).status_code == 200
    assert put(server, 'b', {'AET': 'B', 'Host': 'host', 'Port': 105, 'AllowStore': False, 'Timeout': 3}).text == ''
    a = {**DEFAULTS, 'AET': 'A', 'Host': '127.0.0.1', 'Port': 104}
    b = {**DEFAULTS, 'AET': 'B', 'Host': 'host', 'Port': 105, 'AllowStore': False, 'Timeout': 3}
    assert server.json('/modalities') == ['a', 'b']
    assert server.json('/modalities?expand') == {'a': a, 'b': b}
    assert server.json('/modalities/a') == OPERATIONS
    assert server.json('/modalities/b/configuration') == b
    assert put(server, 'a', b).status_code == 200
    assert server.json('/modalities/a/configuration') == b
    assert server.delete('/modalities/a').status_code == 200
    for method, path in [('DELETE', '/modalities/a'), ('GET', '/modalities/a'), ('GET', '/modalities/a/configuration'),
                         ('POST', '/modalities/a/echo')]:
        answer = server.request(method, path)
        assert answer.status_code == 404 and answer.json()['OrthancStatus'] == 7 and 'a' in answer.json()['Details'], path
    assert server.json('/modalities') == ['b']
    assert server.get('/modalities/b/nope').status_code == 404
    assert server.request('PUT', '/modalities/b/configuration').status_code == 405


@pytest.mark.parametrize('definition, status, word', [
    ('junk', 15, 'JSON'),
    ('', 15, 'JSON'),
    ([], 15, 'expected'),
    (['A', 'h'], 15, 'expected'),
    ({'AET': 'X'}, 15, 'Host'),
    (['A', 'h', 70000], 3, '70000'),
    (['A', 'h', 104, 'Nope'], 3, 'Nope'),
    (['ABCDEFGHIJKLMNOPQ', 'h', 104], 3, 'AET'),
    ({'AET': 'X', 'Host': 'h', 'Port': 104, 'AllowEcho': 1}, 15, 'AllowEcho'),
    ({'AET': 'X', 'Host': 'h', 'Port': 104, 'Timeout': -1}, 5, 'Timeout'),
])
def test_a_bad_definition_is_a_clear_400(server, definition, status, word):
    answer = put(server, 'bad', definition)
    assert answer.status_code == 400
    assert answer.json()['OrthancStatus'] == status and word in answer.json()['Details']
    assert server.json('/modalities') == []


@pytest.mark.parametrize('name', ['a%20b', 'a.b', 'a@b', '%C3%A9', '%00'])
def test_a_bad_name_is_a_clear_400(server, name):
    answer = put(server, name, ['A', 'h', 104])
    assert answer.status_code == 400 and answer.json()['OrthancStatus'] == 15


def test_sixty_concurrent_puts_survive(server):
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda n: put(server, 'm%d' % n, ['A%d' % n, 'h', 1000 + n]).status_code, range(60)))
    assert answers == [200] * 60
    assert {name: m['Port'] for name, m in server.json('/modalities?expand').items()} == {'m%d' % n: 1000 + n for n in range(60)}


@pytest.mark.config(DicomAet='LOCAL')
def test_echo_calls_the_node(server):
    with Scp() as scp:
        remote = {'AET': 'SCP', 'Host': '127.0.0.1', 'Port': scp.port}
        put(server, 'scp', remote)
        for path, body in [('/modalities/scp/echo', ''), ('/modalities/scp/echo', '{}'), ('/modalities/scp/echo', '{"Timeout": 5}'),
                           ('/tools/dicom-echo', json.dumps(remote)), ('/tools/dicom-echo', json.dumps(['SCP', 'localhost', scp.port]))]:
            answer = server.post(path, body)
            assert (answer.status_code, answer.json()) == (200, {}), path
        assert scp.calls == [('LOCAL', 'SCP')] * 5
        put(server, 'scp', {**remote, 'LocalAet': 'OTHER'})
        assert server.post('/modalities/scp/echo', '').status_code == 200
        assert scp.calls[5:] == [('OTHER', 'SCP')]
        for body, word in [('junk', 'JSON'), ('{"Timeout": "x"}', 'Timeout'), ('{"CheckFind": 1}', 'CheckFind')]:
            answer = server.post('/modalities/scp/echo', body)
            assert answer.status_code == 400 and word in answer.json()['Details']
        assert len(scp.calls) == 6


def test_echo_may_check_the_find(server):
    with Scp(contexts=(Verification, StudyRootQueryRetrieveInformationModelFind)) as scp:
        put(server, 'scp', ['SCP', '127.0.0.1', scp.port])
        assert server.post('/modalities/scp/echo', '{"CheckFind": true}').status_code == 200
        [query] = scp.queries
        assert query.QueryRetrieveLevel == 'STUDY' and query.StudyInstanceUID
        assert server.post('/modalities/scp/echo', '').status_code == 200 and len(scp.queries) == 1
    with Scp() as scp:
        put(server, 'scp', ['SCP', '127.0.0.1', scp.port])
        answer = server.post('/modalities/scp/echo', '{"CheckFind": true}')
        assert answer.status_code == 500 and 'C-FIND' in answer.json()['Details']
    with Scp(contexts=(Verification, StudyRootQueryRetrieveInformationModelFind), find=0xA700) as scp:
        put(server, 'scp', ['SCP', '127.0.0.1', scp.port])
        answer = server.post('/modalities/scp/echo', '{"CheckFind": true}')
        assert answer.status_code == 500 and '0xA700' in answer.json()['Details']


@pytest.mark.config(DicomEchoChecksFind=True)
def test_the_find_can_be_the_rule(server):
    with Scp(contexts=(Verification, StudyRootQueryRetrieveInformationModelFind)) as scp:
        put(server, 'scp', ['SCP', '127.0.0.1', scp.port])
        assert server.post('/modalities/scp/echo', '').status_code == 200 and len(scp.queries) == 1
        assert server.post('/modalities/scp/echo', '{"CheckFind": false}').status_code == 200 and len(scp.queries) == 1


def test_a_node_that_does_not_answer_is_named(server):
    import socket
    import time
    with socket.socket() as closed, socket.socket() as silent:
        closed.bind(('127.0.0.1', 0))
        silent.bind(('127.0.0.1', 0))
        silent.listen()
        put(server, 'closed', ['X', '127.0.0.1', closed.getsockname()[1]])
        put(server, 'silent', ['X', '127.0.0.1', silent.getsockname()[1]])
        put(server, 'unknown', ['X', 'no-such-host.invalid', 104])
        put(server, 'tls', {'AET': 'X', 'Host': '127.0.0.1', 'Port': 104, 'UseDicomTls': True})
        begin = time.monotonic()
        for name, word in [('closed', 'refused'), ('silent', 'in time'), ('unknown', 'no-such-host.invalid')]:
            answer = server.post('/modalities/%s/echo' % name, '{"Timeout": 1}')
            error = answer.json()
            assert (answer.status_code, error['OrthancStatus']) == (500, 9), error
            assert '"X"' in error['Details'] and word in error['Details'], error
        assert time.monotonic() - begin < 15
        answer = server.post('/modalities/tls/echo', '')
        assert answer.status_code == 501 and 'UseDicomTls' in answer.json()['Details']
    with Scp(echo=0x0110) as scp:
        put(server, 'fails', ['SCP', '127.0.0.1', scp.port])
        answer = server.post('/modalities/fails/echo', '')
        assert answer.status_code == 500 and '0x0110' in answer.json()['Details']
        assert answer.json()['ErrorPayload'] == {'Type': 'Dimse', 'Content': {'DimseErrorStatus': 0x0110}}


def echo_status(server, calling):
    """The status of a C-ECHO to the server; None if the association is refused."""
    ae = AE(calling)
    ae.add_requested_context(Verification)
    association = ae.associate('127.0.0.1', server.dicom_port, ae_title=server.aet)
    if not association.is_established:
        return None
    status = association.send_c_echo()
    association.release()
    return status.Status


@pytest.mark.config(DicomAlwaysAllowEcho=False, DicomAlwaysAllowStore=False)
def test_the_very_next_association_knows_what_was_put(server):
    assert echo_status(server, 'NEW') is None
    for n in range(6):
        put(server, 'new', {'AET': 'NEW', 'Host': '127.0.0.1', 'Port': 104, 'AllowEcho': n % 2 == 0})
        assert echo_status(server, 'NEW') == (0x0000 if n % 2 == 0 else 0x0124)
    server.delete('/modalities/new')
    assert echo_status(server, 'NEW') is None


def test_the_configuration_seeds_and_clients_changes_stay(node):
    first, second = ['A', 'h', 1], ['A', 'h', 2]
    one = node({'DicomModalities': {'kept': first, 'changed': first, 'deleted': first}}).start()
    server = Client(one.url, one.dicom_port)

    def ports():
        return {name: m['Port'] for name, m in server.json('/modalities?expand').items()}

    assert ports() == {'kept': 1, 'changed': 1, 'deleted': 1}
    put(server, 'changed', ['A', 'h', 9])
    put(server, 'own', ['A', 'h', 9])
    server.delete('/modalities/deleted')
    one.stop()
    one.start()
    assert ports() == {'kept': 1, 'changed': 9, 'own': 9}, 'nothing changed in the file'
    one.stop()
    one.config['DicomModalities'] = {'changed': second, 'deleted': second}
    one.start()
    assert ports() == {'changed': 2, 'deleted': 2, 'own': 9}, 'the file changed'
    one.stop()
    one.config['DicomModalitiesInDatabase'] = True
    one.config['DicomModalities'] = {'other': first}
    one.start()
    assert ports() == {'changed': 2, 'deleted': 2, 'own': 9}, 'the file does not count'
    one.stop()
    one.config['DicomModalities'] = {'bad name': first, 'port': ['A', 'h', 0]}
    one.spawn()
    assert one.process.wait(20) != 0
    assert 'bad name' in one.log and 'DicomModalities.port' in one.log


def test_settings_start_as_configured(node):
    one = node().start()
    server = Client(one.url, one.dicom_port)
    assert server.request('PUT', '/tools/default-encoding', data='Greek').text == 'Greek'
    assert server.request('PUT', '/tools/unknown-sop-class-accepted', data='1').status_code == 200
    assert server.get('/tools/default-encoding').text == 'Greek'
    assert server.get('/tools/unknown-sop-class-accepted').text == '1'
    one.stop()
    one.start()
    assert server.get('/tools/default-encoding').text == 'Latin1'
    assert server.get('/tools/unknown-sop-class-accepted').text == '0'


def test_settings_of_concurrent_clients_all_count(server):
    names = ['Greek', 'Arabic', 'Hebrew', 'Thai']
    threads = [threading.Thread(target=lambda n=n: server.request('PUT', '/tools/default-encoding', data=n)) for n in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = server.get('/tools/default-encoding').text
    assert last in names and [server.get('/tools/default-encoding').text for _ in range(6)] == [last] * 6
