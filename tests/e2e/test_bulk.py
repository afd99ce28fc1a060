"""Many resources in one call, and what leaves an instance or a series in a form of its own."""
import json

import pytest
from client import Client
from dicom import dicom_bytes, instance
from pydicom.uid import EncapsulatedPDFStorage, generate_uid

LEVELS = {'Patient': 'ParentPatient', 'Study': 'ParentStudy', 'Series': 'ParentSeries', 'Instance': 'ID'}
UNKNOWN = '-'.join(8 * str(n) for n in range(1, 6))


def content(server, **body):
    answer = server.post('/tools/bulk-content', json.dumps(body))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_bulk_content(server):
    one = server.upload(dicom_bytes(instance(PatientID='A')))
    study = one['ParentStudy']
    two = server.upload(dicom_bytes(instance(PatientID='B')))
    ids = [one[key] for key in LEVELS.values()]
    named = content(server, Resources=[ids[3], UNKNOWN, 'nope', ids[0], ids[3]])
    assert [r['ID'] for r in named] == [ids[3], ids[0], ids[3]]
    assert all('LastUpdate' in r['Metadata'] or r['Type'] == 'Instance' for r in named)
    for level, id_ in zip(LEVELS, ids):
        for resources in [[id_], ids, [ids[3]], [ids[0]], [study, study]]:
            found = content(server, Resources=resources, Level=level, Metadata=False)
            assert [(r['ID'], r['Type'], 'Metadata' in r) for r in found] == [(id_, level, False)], (level, resources)
        both = content(server, Resources=[two['ID'], one['ID']], Level=level)
        assert [r['ID'] for r in both] == sorted([id_, two[LEVELS[level]]])
    assert content(server, Resources=[ids[3]], Short=True)[0]['MainDicomTags']['0020,0013'] == '1'
    assert content(server, Resources=[]) == content(server, Resources=[], Level='Series') == []


def test_bulk_delete(server):
    series = generate_uid()
    study = generate_uid()
    first, second = (server.upload(dicom_bytes(instance(study=study, series=series))) for _ in range(2))
    third = server.upload(dicom_bytes(instance(PatientID='B')))
    # An unknown id, and resources that lie in one another.
    doomed = [UNKNOWN, 'nope', first['ID'], first['ParentStudy'], first['ID'], second['ID']]
    answer = server.post('/tools/bulk-delete', json.dumps({'Resources': doomed}))
    assert answer.status_code == 200 and not answer.text
    assert server.json('/instances') == [third['ID']] and len(server.json('/patients')) == 1
    assert server.post('/tools/bulk-delete', json.dumps({'Resources': [third['ParentPatient']]})).status_code == 200
    assert server.json('/statistics')['CountInstances'] == 0


def test_slices_are_ordered_by_position_else_by_number(server):
    def upload(positions, **tags):
        study, series = generate_uid(), generate_uid()
        return [server.upload(dicom_bytes(instance(study=study, series=series, InstanceNumber=n, ImageOrientationPatient=['1', '0', '0', '0', '1', '0'],
                                                   **({'ImagePositionPatient': ['0', '0', z]} if z else {}), **tags)))
                for n, z in enumerate(positions, 1)]

    volume = upload(['5', '-1.5', '3'])
    answer = server.json('/series/%s/ordered-slices' % volume[0]['ParentSeries'])
    order = [volume[n]['ID'] for n in (1, 2, 0)]
    assert answer == {'Type': 'Volume', 'Dicom': ['/instances/%s/file' % i for i in order], 'Slices': ['/instances/%s/frames/0' % i for i in order],
                      'SlicesShort': [[i, 0, 1] for i in order]}
    for positions in [['5', '5', '3'], ['1', None, '2']]:
        sequence = upload(positions, NumberOfFrames=2)
        answer = server.json('/series/%s/ordered-slices' % sequence[0]['ParentSeries'])
        assert answer['Type'] == 'Sequence' and [s[0] for s in answer['SlicesShort']] == [s['ID'] for s in sequence]
        assert len(answer['Slices']) == 6
    unordered = upload(['5', '5'], StudyID='1')
    for one in unordered:
        server.delete('/instances/' + one['ID'])
    without = [server.upload(dicom_bytes(instance(series='1.2.3.4', study='1.2.3', InstanceNumber=None))) for _ in range(2)]
    answer = server.get('/series/%s/ordered-slices' % without[0]['ParentSeries'])
    assert answer.status_code == 500 and answer.json()['OrthancStatus'] == 2040
    assert server.get('/series/%s/ordered-slices' % UNKNOWN).status_code == 404
    # A file may claim any number of frames; the answer stays small.
    huge = upload(['1'], NumberOfFrames=2 ** 31 - 1)
    assert len(server.json('/series/%s/ordered-slices' % huge[0]['ParentSeries'])['Slices']) == 100_000


def pdf_instance(document, **tags):
    ds = instance(MIMETypeOfEncapsulatedDocument='application/pdf', EncapsulatedDocument=document, **tags)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    return ds


@pytest.mark.parametrize('document, tags, expected', [
    (b'%PDF-1.4\n%%EOF\n\0', {}, b'%PDF-1.4\n%%EOF\n'),
    (b'%PDF-1.4\n%%EOF\r\n', {}, b'%PDF-1.4\n%%EOF\r\n'),
    (b'%PDF-1.4\n%%EOFxx', {'EncapsulatedDocumentLength': 16}, b'%PDF-1.4\n%%EOFxx'),
    (b'%PDF-1.4\n%%EOFx\0', {'EncapsulatedDocumentLength': 2 ** 32 - 1}, b'%PDF-1.4\n%%EOFx'),
])
def test_the_pdf_of_an_instance(server, document, tags, expected):
    stored = server.upload(dicom_bytes(pdf_instance(document, **tags)))
    answer = server.get('/instances/%s/pdf' % stored['ID'])
    assert (answer.status_code, answer.headers['Content-Type'], answer.content) == (200, 'application/pdf', expected)


def test_what_holds_no_pdf(server):
    other = pdf_instance(b'xx')
    other.MIMETypeOfEncapsulatedDocument = 'text/plain'
    for ds in [instance(), other]:
        answer = server.get('/instances/%s/pdf' % server.upload(dicom_bytes(ds))['ID'])
        assert answer.status_code == 404 and answer.json()['Details']
    assert server.get('/instances/%s/pdf' % UNKNOWN).status_code == 404


def test_export_writes_a_file_if_that_is_allowed(node, tmp_path):
    body = dicom_bytes(instance())
    for allowed in [False, True]:
        one = node({'RestApiWriteToFileSystemEnabled': allowed}).start()
        server = Client(one.url, one.dicom_port)
        path = '/instances/%s/export' % server.upload(body)['ID']
        target = tmp_path / 'out.dcm'
        answer = server.post(path, str(target))
        assert (answer.status_code, target.exists()) == (200 if allowed else 403, allowed)
        if allowed:
            assert target.read_bytes() == body
            for bad in [str(tmp_path / 'missing' / 'x'), '', '/', 'a\0b', 'x' * 5000]:
                answer = server.post(path, bad)
                assert answer.status_code in (400, 413, 500) and answer.json()['HttpStatus'] == answer.status_code, bad


def test_resources_without_any_label(server):
    one, two = (server.upload(dicom_bytes(instance(PatientID=name))) for name in 'AB')
    server.request('PUT', '/studies/%s/labels/red' % one['ParentStudy'])
    for labels, rule, expected in [([], 'None', [two]), (None, 'None', [two]), ([], 'All', [one, two]), ([], 'Any', [one, two]), (['blue'], 'None', [one, two])]:
        body = {'Level': 'Study', 'Query': {}, 'LabelsConstraint': rule, **({} if labels is None else {'Labels': labels})}
        found = server.post('/tools/find', json.dumps(body)).json()
        assert sorted(found) == sorted(one['ParentStudy'] for one in expected), body
        assert server.post('/tools/count-resources', json.dumps(body)).json() == {'Count': len(expected)}
    related = {'Level': 'Study', 'Query': {}, 'LabelsConstraint': 'None', 'ParentPatient': one['ParentPatient']}
    assert server.post('/tools/find', json.dumps(related)).json() == []
