"""Searches that nobody means: a clear error or a bounded answer each, and the server goes on."""
import json
import time

import pytest
from client import Client
from dicom import dicom_bytes, instance

WRONG = [None, True, 0, -1, 1.5, 2 ** 70, '', 'x', [], [1], ['x'], [None], [[]], [{}], {}, {'x': 1}, {'x': None}]
FIELDS = ['Level', 'Query', 'Expand', 'Full', 'Short', 'CaseSensitive', 'Limit', 'Since', 'Labels', 'LabelsConstraint', 'RequestedTags', 'ResponseContent', 'OrderBy',
          'MetadataQuery', 'ParentPatient', 'ParentStudy', 'ParentSeries']


@pytest.fixture
def filled(server):
    server.upload(dicom_bytes(instance(PatientComments='x' * 300)))
    yield server
    assert all(node.process.poll() is None for node in server.nodes), 'a process died'
    assert len(server.json('/studies')) == 1


def ask(server, tool, body):
    answer = server.post('/tools/' + tool, body if isinstance(body, str) else json.dumps(body))
    assert answer.status_code in (200, 400, 404), (tool, body, answer.text)
    if answer.status_code != 200:
        assert answer.json()['HttpStatus'] == answer.status_code and answer.json()['OrthancError']
    return answer


def test_values_of_every_type_in_every_field(filled):
    for field in FIELDS:
        for value in WRONG:
            for tool in ['find', 'count-resources']:
                answer = ask(filled, tool, {'Level': 'Study', 'Query': {}, field: value})
                if field in ('Level', 'Query', 'Limit', 'Since') and value is None:
                    assert answer.status_code == 400 and field in answer.json()['Details']
    for name in ['PatientID', 'StudyDate', 'PatientComments']:
        for value in WRONG[:6] + WRONG[8:]:
            assert ask(filled, 'find', {'Level': 'Study', 'Query': {name: value}}).json()['Details'].find(name) >= 0
    for key in ['Type', 'Key', 'Direction']:
        for value in WRONG:
            assert ask(filled, 'find', {'Level': 'Study', 'Query': {}, 'OrderBy': [{'Type': 'DicomTag', 'Key': 'StudyDate', 'Direction': 'ASC', key: value}]}).status_code != 200


def test_bodies_that_are_no_object(filled):
    for tool in ['find', 'count-resources', 'bulk-content', 'bulk-delete']:
        for body in ['', 'nope', '[]', '7', '"x"', 'null', '{', '\0', '{"Level": "Study", "Level": 3}']:
            assert ask(filled, tool, body).status_code == 400, (tool, body)
        for field, value in [('Resources', {}), ('Resources', [1]), ('Resources', 'x'), ('Resources', None)]:
            if tool.startswith('bulk'):
                assert ask(filled, tool, {field: value}).status_code == 400


def test_deep_json(filled):
    for tool in ['find', 'count-resources', 'bulk-content', 'bulk-delete']:
        for deep in ['[' * 100_000, '{"Query":' * 100_000, '{"Level":"Study","Query":{"PatientID":' + '[' * 5000 + ']' * 5000 + '}}']:
            assert ask(filled, tool, deep).status_code == 400


def test_wildcard_bombs(filled):
    """Patterns that make naive matchers try every way to cut a text: by column, by file, exact and not."""
    bomb = '*x' * 100 + 'y' + '*x' * 2000
    for query in [{'PatientName': bomb}, {'StudyDescription': bomb}, {'PatientComments': bomb}, {'PatientComments': '?' * 200 + 'y' * 4000}, {'PatientName': '\\'.join(['*x*y*'] * 1000)}]:
        for exact in [False, True]:
            begin = time.monotonic()
            answer = ask(filled, 'find', {'Level': 'Study', 'Query': query, 'CaseSensitive': exact})
            assert answer.status_code == 400 or answer.json() == []
            assert time.monotonic() - begin < 15
    assert ask(filled, 'find', {'Level': 'Study', 'Query': {}, 'MetadataQuery': {'LastUpdate': bomb}}).status_code in (200, 400)


def test_large_numbers_and_lists(filled):
    for more in [{'Limit': 2 ** 63}, {'Since': 2 ** 63}, {'Since': 2 ** 64 - 1, 'Limit': 2 ** 64 - 1}, {'Labels': ['x' * 100_000]}, {'Labels': ['l%d' % n for n in range(5000)], 'LabelsConstraint': 'Any'},
                 {'ResponseContent': ['Labels'] * 10_000}, {'Query': {'PatientID': '\\'.join('p%d' % n for n in range(20_000))}},
                 {'OrderBy': [{'Type': 'DicomTag', 'Key': 'StudyDate', 'Direction': 'ASC'}] * 200}]:
        ask(filled, 'find', {'Level': 'Study', 'Query': {}, **more})
    assert ask(filled, 'bulk-content', {'Resources': ['x'] * 50_000}).json() == []


def test_a_name_for_a_download_cannot_make_a_header(filled):
    one, = filled.json('/instances')
    for path in ['file', 'attachments/dicom/data', 'archive']:
        answer = filled.get('/instances/%s/%s?filename=a%%0d%%0aX-Evil:%%201%%0d%%0a%%0d%%0abody' % (one, path))
        if answer.status_code == 200:
            assert 'X-Evil' not in answer.headers and '\n' not in answer.headers['Content-Disposition']


def test_no_file_is_read_for_a_search_that_may_not(node):
    for access, expected in [('Always', 1), ('Answers', 1), ('Never', 0)]:
        one = node({'StorageAccessOnFind': access}, access).start()
        server = Client(one.url, one.dicom_port)
        server.upload(dicom_bytes(instance(PatientComments='quiet')))
        body = {'Level': 'Study', 'Query': {'PatientComments': 'QUIET'}, 'Expand': True, 'RequestedTags': ['PatientComments', 'OperatorsName']}
        assert len(server.post('/tools/find', json.dumps(body)).json()) == expected
        found, = server.post('/tools/find', json.dumps({**body, 'Query': {}})).json()
        assert found['RequestedTags'] == ({} if access == 'Never' else {'OperatorsName': None, 'PatientComments': 'quiet'})


def test_limits_of_a_search(node):
    one = node({'LimitFindResults': 2, 'LimitFindInstances': 3}).start()
    server = Client(one.url, one.dicom_port)
    for name in 'ABCDE':
        server.upload(dicom_bytes(instance(PatientID=name)))
    for level, most in [('Patient', 2), ('Study', 2), ('Series', 2), ('Instance', 3)]:
        for limit in [None, 1, 4, 10]:
            body = {'Level': level, 'Query': {}, **({} if limit is None else {'Limit': limit})}
            assert len(server.post('/tools/find', json.dumps(body)).json()) == min(limit or most, most)
        assert server.post('/tools/count-resources', json.dumps({'Level': level, 'Query': {}})).json() == {'Count': 5}
