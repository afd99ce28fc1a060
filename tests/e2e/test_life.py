"""Start, stop, configuration, logs."""
import json
import subprocess
import time

import pytest
import requests
from client import Client
from dicom import dicom_bytes, instance
from node import PLEIAD


def run(*arguments, **options):
    return subprocess.run([PLEIAD, *map(str, arguments)], capture_output=True, text=True, timeout=30, **options)


def refused(node, config):
    """Starts with a configuration that must be refused and returns what it said."""
    one = node(config)
    process = one.spawn()
    assert process.wait(20) == 255
    return one.log


def test_it_says_where_it_listens_and_stops_on_sigterm(node):
    one = node().start()
    assert str(one.config['HttpPort']) in one.log and str(one.dicom_port) in one.log
    status, seconds = one.stop()
    assert status == 0
    assert seconds < 15
    assert ' ERROR ' not in one.log and 'panic' not in one.log


def test_sigterm_lets_a_running_request_end(node):
    one = node().start()
    body = dicom_bytes(instance(size=256))

    def slow():
        for at in range(0, len(body), len(body) // 4 + 1):
            if at:
                time.sleep(0.3)
            yield body[at:at + len(body) // 4 + 1]
            if not at:
                one.process.terminate()

    answer = requests.post(one.url + '/instances', data=slow(), timeout=30)
    assert answer.status_code == 200
    assert one.process.wait(20) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(one.url + '/instances', timeout=5)


def test_shutdown_by_rest(node):
    one = node().start()
    assert requests.post(one.url + '/tools/shutdown', timeout=10).status_code == 200
    assert one.process.wait(20) == 0


def test_probes_need_no_login(node):
    one = node({'AuthenticationEnabled': True, 'RegisteredUsers': {'alice': 'S3cure'}}).start()
    assert requests.get(one.url + '/healthz', timeout=5).ok and requests.get(one.url + '/readyz', timeout=5).ok
    for auth in [None, ('alice', 'wrong'), ('bob', 'S3cure')]:
        answer = requests.get(one.url + '/system', auth=auth, timeout=5)
        assert answer.status_code == 401 and answer.headers['WWW-Authenticate'].startswith('Basic')
    assert requests.get(one.url + '/system', auth=('alice', 'S3cure'), timeout=5).ok
    assert 'S3cure' not in one.log


@pytest.mark.parametrize('config, words', [
    ({'HttpPort': 'x'}, ['pleiad.json', 'HttpPort', '"x"', 'integer']),
    ({'RemoteAccessAllowed': True}, ['RegisteredUsers']),
    ({'SslEnabled': True}, ['SslCertificate', 'certificate.pem']),
    ({'DicomTlsEnabled': True}, ['DicomTlsEnabled', 'protection']),
    ({'Authorization': {'WebServiceRootUrl': 'http://x'}}, ['Authorization', 'protection']),
    ({'HttpBindAddresses': ['nowhere']}, ['HttpBindAddresses', 'nowhere']),
    ({'DicomAet': 'MORE-THAN-16-CHARACTERS'}, ['DicomAet', '16']),
    ({'ExtraMainDicomTags': {'Instance': ['NoSuchTag']}}, ['ExtraMainDicomTags.Instance', 'NoSuchTag']),
    ({'Dictionary': {'0009,1001': ['XX', 'Name']}}, ['Dictionary.0009,1001', 'XX']),
])
def test_a_configuration_that_cannot_be_obeyed_is_refused(node, config, words):
    log = refused(node, config)
    for word in words:
        assert word in log


def test_ports_in_use_are_named(node):
    first = node().start()
    for option in ['HttpPort', 'DicomPort']:
        log = refused(node, {option: first.config[option]})
        assert option in log and str(first.config[option]) in log


def test_what_comes_later_is_a_warning_that_names_it(node):
    one = node({'IngestTranscoding': '1.2.840.10008.1.2', 'Worklists': {'Enable': True}, 'NoSuchOption': 1}).start()
    assert 'IngestTranscoding, Worklists' in one.log and 'unknown option NoSuchOption' in one.log


def test_an_index_of_orthanc_is_not_touched(node):
    one = node()
    one.storage.mkdir()
    (one.storage / 'index').write_bytes(b'SQLite format 3\0 of somebody else')
    assert one.spawn().wait(20) == 255
    assert 'Orthanc' in one.log and 'index' in one.log
    assert [p.name for p in one.storage.iterdir()] == ['index']


def test_the_command_line(tmp_path):
    assert run('--version').stdout.startswith('pleiad ')
    assert '--print-config' in run('--help').stdout
    assert run('--nonsense').returncode == 255
    assert run(tmp_path / 'missing.json').returncode == 255
    sample = tmp_path / 'sample.json'
    assert run('--config=%s' % sample).returncode == 0
    assert run('--config=-').stdout == sample.read_text()
    assert json.loads(run('--print-config', sample).stdout)['HttpPort'] == 8042
    (tmp_path / 'own.json').write_text('{"RegisteredUsers": {"alice": "S3cure"}, "StableAge": 5}')
    shown = run('--print-config', tmp_path / 'own.json', env={'ORTHANC__STABLE_AGE': '6', 'ORTHANC__NAME': 'n'})
    effective = json.loads(shown.stdout)
    assert effective['StableAge'] == 6 and effective['Name'] == 'n'
    assert 'S3cure' not in shown.stdout + shown.stderr


def test_a_pipe_that_nobody_reads_does_not_stop_the_server(node):
    one = node().start('--trace', stderr=subprocess.PIPE)
    client = Client(one.url, one.dicom_port)
    for _ in range(1500):
        assert client.get('/changes').ok
    one.process.stderr.close()
    assert one.stop()[0] == 0


def test_a_log_file(node, tmp_path):
    one = node()
    one.start('--verbose', '--logdir=%s' % (tmp_path / 'logs'))
    Client(one.url, one.dicom_port).get('/instances')
    one.stop()
    [log] = (tmp_path / 'logs').iterdir()
    assert '/instances' in log.read_text() and one.log == ''


def test_a_read_only_process_reads_and_writes_nothing(node):
    writer = node().start()
    client = Client(writer.url, writer.dicom_port, writer.aet)
    stored = client.upload(dicom_bytes(instance()))
    writer.stop()
    reader = node({**writer.config, 'ReadOnly': True, 'StorageDirectory': str(writer.storage)}).start()
    client = Client(reader.url, reader.dicom_port, reader.aet)
    assert client.json('/system')['ReadOnly'] is True
    assert client.json('/instances') == [stored['ID']]
    archive = client.get('/studies/%s/archive' % stored['ParentStudy'])
    assert archive.status_code == 200 and archive.content[:2] == b'PK'
    assert client.json('/jobs') == [] and client.json('/cluster/nodes') == []
    for answer in [
        client.post('/instances', dicom_bytes(instance())),
        client.request('DELETE', stored['Path']),
        client.request('PUT', '/modalities/a', data=json.dumps(['A', 'localhost', 104])),
        client.request('PUT', stored['Path'] + '/metadata/1024', data='x'),
        client.post('/studies/%s/archive' % stored['ParentStudy'], json.dumps({'Asynchronous': True})),
    ]:
        assert (answer.status_code, answer.json()['OrthancStatus']) == (403, 22)
    assert client.json('/instances') == [stored['ID']]
