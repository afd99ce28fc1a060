"""`/tools`: log levels, the list, XML, metrics, clocks, plugins, restarts."""
import datetime
import json
import time
import xml.etree.ElementTree as ET

import pytest
import requests
from client import Client
from dicom import dicom_bytes, instance

CATEGORIES = ['generic', 'http', 'dicom', 'plugins', 'sqlite', 'lua', 'jobs']


def levels(server):
    return {c: server.get('/tools/log-level-' + c).text for c in CATEGORIES}


def put(server, path, body):
    return server.request('PUT', path, data=body).status_code


def test_log_levels_of_all_and_of_one_category(server):
    assert server.get('/tools/log-level').text == 'default'
    assert levels(server) == dict.fromkeys(CATEGORIES, 'default')
    assert put(server, '/tools/log-level', 'verbose') == 200
    assert levels(server) == dict.fromkeys(CATEGORIES, 'verbose')
    assert put(server, '/tools/log-level-http', 'trace') == 200
    assert put(server, '/tools/log-level-dicom', 'default') == 200
    assert levels(server) == {**dict.fromkeys(CATEGORIES, 'verbose'), 'http': 'trace', 'dicom': 'default'}
    assert server.get('/tools/log-level').text == 'trace', 'the most talkative counts'
    for path in ['/tools/log-level', '/tools/log-level-http']:
        for bad in ['nope', '', 'Verbose']:
            answer = server.request('PUT', path, data=bad)
            assert answer.status_code == 400 and '"trace"' in answer.json()['Details']
    assert put(server, '/tools/log-level-nope', 'default') == 404
    assert server.get('/tools/log-level-nope').status_code == 404


def test_the_process_obeys_its_log_level(node):
    one = node().start()
    server = Client(one.url, one.dicom_port)
    server.get('/system?quiet')
    assert put(server, '/tools/log-level-http', 'verbose') == 200
    server.get('/instances')
    assert put(server, '/tools/log-level', 'default') == 200
    server.get('/statistics')
    one.stop()
    lines = [line for line in one.log.splitlines() if ' http: ' in line]
    assert any('"/instances"' in line for line in lines)
    assert not any('"/system"' in line or '"/statistics"' in line for line in lines)


def test_the_command_line_is_where_the_log_level_starts(node):
    one = node().start('--trace-dicom')
    server = Client(one.url, one.dicom_port)
    assert server.get('/tools/log-level').text == 'trace'
    assert server.get('/tools/log-level-dicom').text == 'trace'
    assert server.get('/tools/log-level-http').text == 'default'


def test_every_tool_that_is_listed_is_known(server):
    tools = server.json('/tools')
    assert 'dicom-conformance' in tools and tools == sorted(tools)
    for tool in tools:
        # No route has this method: a known path says so, or that it is not built yet.
        assert server.request('PATCH', '/tools/' + tool).status_code in (405, 501), tool
    assert server.request('PATCH', '/tools/nope').status_code == 404


def test_json_answers_become_xml(server):
    stored = server.upload(dicom_bytes(instance(PatientName='A&B^<C>')))
    xml = {'Accept': 'application/xml'}

    def get(path):
        answer = server.get(path, headers=xml)
        assert answer.headers['Content-Type'] == 'application/xml; charset=utf-8'
        return ET.fromstring(answer.content)

    assert [e.text for e in get('/tools')] == server.json('/tools')
    assert [(e.tag, e.text) for e in get('/instances')] == [('item', stored['ID'])]
    patient = get(stored['Path'] + '/patient')
    assert patient.findtext('MainDicomTags/PatientName') == 'A&B^<C>'
    assert patient.findtext('IsProtected') == 'false'
    assert list(patient.find('Labels')) == []
    tags = get(stored['Path'] + '/tags')
    assert tags.find("item[@name='0010,0010']").findtext('Value') == 'A&B^<C>'
    # Errors stay JSON, and who takes anything gets JSON.
    assert server.get('/instances/nope', headers=xml).json()['HttpStatus'] == 404
    browser = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'
    assert server.get('/instances', headers={'Accept': browser}).json() == [stored['ID']]


@pytest.mark.config(AuthenticationEnabled=True, RegisteredUsers={'alice': 'S3cure'})
def test_xml_needs_a_login_as_json_does(server):
    assert server.get('/tools', headers={'Accept': 'application/xml'}).status_code == 401


def test_metrics_can_be_turned_off_for_all_processes(server):
    assert server.get('/tools/metrics').text == '1'
    assert 'orthanc_count_instances' in server.get('/tools/metrics-prometheus').text
    for off in ['0', 'false']:
        assert put(server, '/tools/metrics', off) == 200
        for _ in server.nodes:
            assert server.get('/tools/metrics').text == '0'
            answer = server.get('/tools/metrics-prometheus')
            assert answer.status_code == 200 and not answer.text
    assert put(server, '/tools/metrics', 'true') == 200
    for _ in server.nodes:
        assert 'orthanc_count_instances' in server.get('/tools/metrics-prometheus').text
    for bad in ['', '2', 'yes', '[]']:
        answer = server.request('PUT', '/tools/metrics', data=bad)
        assert answer.status_code == 400 and answer.json()['OrthancStatus'] == 15


def test_metrics_that_the_configuration_turns_off(node):
    one = node({'MetricsEnabled': False}).start()
    server = Client(one.url, one.dicom_port)
    assert server.get('/tools/metrics').text == '0' and not server.get('/tools/metrics-prometheus').text


def test_the_time_is_told_in_two_zones(node, monkeypatch):
    monkeypatch.setenv('TZ', 'Asia/Tokyo')
    one = node().start()
    server = Client(one.url, one.dicom_port)
    now, local = (datetime.datetime.strptime(server.get('/tools/' + name).text, '%Y%m%dT%H%M%S') for name in ['now', 'now-local'])
    assert 0 <= (local - now - datetime.timedelta(hours=9)).total_seconds() < 60


def test_plugins(server):
    assert server.json('/plugins') == ['explorer.js']
    assert server.get('/plugins/explorer.js').headers['Content-Type'] == 'application/javascript'
    assert server.get('/plugins/nope').status_code == 404


def test_the_conformance_statement_names_what_is_accepted(server):
    text = server.get('/tools/dicom-conformance').text
    for uid in ['1.2.840.10008.1.1', '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1']:
        assert ' %s\n' % uid in text
    assert put(server, '/tools/accepted-transfer-syntaxes', '1.2.840.10008.1.2') == 200
    for _ in server.nodes:
        assert ' 1.2.840.10008.1.2.1\n' not in server.get('/tools/dicom-conformance').text


def test_a_reset_reads_the_configuration_again(node):
    one = node({'Name': 'before'}).start()
    server = Client(one.url, one.dicom_port)
    stored = server.upload(dicom_bytes(instance()))
    one.config['Name'] = 'after'
    (one.folder / 'pleiad.json').write_text(json.dumps(one.config))
    assert server.post('/tools/reset', '').json() == {}
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if server.json('/system')['Name'] == 'after':
                break
        except requests.RequestException:
            time.sleep(0.05)
    assert one.process.poll() is None and server.json('/system')['Name'] == 'after'
    assert server.get(stored['Path']).status_code == 200
    one.config['HttpPort'] = 'x'
    (one.folder / 'pleiad.json').write_text(json.dumps(one.config))
    server.post('/tools/reset', '')
    assert one.process.wait(30) == 255 and 'HttpPort' in one.log
