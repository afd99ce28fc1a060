"""Media: the DICOMDIR of a ZIP leads every reader to every file, whatever the files have in their tags."""
import io
import zipfile

import pytest
from dicom import dcmtk, dicom_bytes, instance
from jobs import create, success
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import generate_uid

CLASSES = '1.2.840.10008.5.1.4.1.1.'


class Media:
    """A ZIP that was unpacked and read by pydicom and DCMTK. Each record leads to a file that is there, and each file has one."""

    def __init__(self, folder, body):
        folder.mkdir()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            assert archive.testzip() is None
            self.names = archive.namelist()
            archive.extractall(folder)
        assert self.names[-1] == 'DICOMDIR'
        assert self.names[:-1] == ['IMAGES/IM%d' % n for n in range(len(self.names) - 1)]
        self.directory = dcmread(folder / 'DICOMDIR')
        dumped = dcmtk('dcmdump', '+L', folder / 'DICOMDIR')
        assert dumped.returncode == 0 and not [line for line in dumped.stdout.splitlines() if line[:2] in ('E:', 'W:', 'F:')]
        self.instances = {}
        self.records = {}
        # An empty one cannot be loaded by pydicom.
        for found in FileSet(self.directory) if len(self.names) > 1 else []:
            read = dcmread(found.path)
            assert read.SOPInstanceUID == found.ReferencedSOPInstanceUIDInFile
            assert read.SOPClassUID == found.ReferencedSOPClassUIDInFile
            assert read.file_meta.TransferSyntaxUID == found.ReferencedTransferSyntaxUIDInFile
            self.instances[read.SOPInstanceUID] = found
        assert len(self.instances) == len(self.names) - 1
        for record in self.directory.DirectoryRecordSequence:
            self.records.setdefault(record.DirectoryRecordType, []).append(record)

    def one(self, kind):
        (record,) = self.records[kind]
        return record

    def kinds(self):
        return {kind: len(records) for kind, records in self.records.items()}


@pytest.fixture
def media(tmp_path):
    """Reads media."""
    return lambda answer: Media(tmp_path / ('media%d' % len(list(tmp_path.iterdir()))), body_of(answer))


def body_of(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers['Content-Type'] == 'application/zip'
    return answer.content


def other(sop_class, **tags):
    """An instance without pixels."""
    ds = instance(SOPClassUID=CLASSES + sop_class, **tags)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    del ds.PixelData
    return ds


def code(value, scheme, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def test_every_record_leads_to_its_file(server, media):
    studies = [generate_uid() for _ in range(3)]
    stored = {}
    for study, patient in zip(studies, 'ABB'):
        for _ in range(2):
            series = generate_uid()
            for number in range(3):
                ds = instance(study, series, PatientID=patient, InstanceNumber=number, StudyID='S' + patient)
                stored[ds.SOPInstanceUID] = server.upload(dicom_bytes(ds))
    patients = sorted({answer['ParentPatient'] for answer in stored.values()})
    all_of_them = media(server.post('/tools/create-media', None, json=patients))
    assert all_of_them.kinds() == {'PATIENT': 2, 'STUDY': 3, 'SERIES': 6, 'IMAGE': 18}
    assert set(all_of_them.instances) == set(stored)
    for found in all_of_them.instances.values():
        assert found.StudyID == 'S' + found.PatientID
    for level, count in [('Patient', None), ('Study', 6), ('Series', 3)]:
        one = next(iter(stored.values()))['Parent' + level]
        found = media(server.get('/%s/%s/media' % ({'Patient': 'patients', 'Study': 'studies'}.get(level, 'series'), one)))
        assert {stored[uid]['Parent' + level] for uid in found.instances} == {one}
        assert count in (None, len(found.instances))
    # Each instance once, however often it is asked for.
    single = next(iter(stored.values()))
    twice = [single['ID'], single['ID'], single['ParentSeries'], single['ID']]
    assert len(media(server.post('/tools/create-media', None, json=twice)).instances) == 3
    assert media(server.post('/tools/create-media', None, json=[])).kinds() == {}
    only = media(server.get('/tools/create-media', params={'resources': single['ID']}))
    assert only.kinds() == {'PATIENT': 1, 'STUDY': 1, 'SERIES': 1, 'IMAGE': 1}


def test_extended_media_tell_the_description_of_a_series(server, media):
    stored = server.upload(dicom_bytes(instance(SeriesDescription='Söme serieś')))
    study, number = '/studies/%s/media' % stored['ParentStudy'], stored['ID']
    for answer, extended in [
        (server.get(study), False),
        (server.get(study + '?extended'), True),
        (server.get(study + '?extended=false'), False),
        (server.post(study, '{}'), False),
        (server.post(study, '{"Extended": true}'), True),
        (server.get('/tools/create-media?resources=' + number), False),
        (server.get('/tools/create-media-extended?resources=' + number), True),
        (server.post('/tools/create-media', None, json=[number]), False),
        (server.post('/tools/create-media', None, json={'Resources': [number], 'Extended': True}), True),
        (server.post('/tools/create-media-extended', None, json=[number]), True),
        (server.post('/tools/create-media-extended', None, json={'Resources': [number], 'Extended': False}), False),
    ]:
        series = media(answer).one('SERIES')
        assert series.get('SeriesDescription') == ('Söme serieś' if extended else None)


def test_requests_are_answered_as_those_of_archives(server):
    stored = server.upload(dicom_bytes(instance()))
    study, path = stored['ParentStudy'], '/studies/%s/media' % stored['ParentStudy']
    assert server.get(path).headers['Content-Disposition'] == 'filename="%s.zip"' % study
    assert server.get(path + '?filename=a.zip').headers['Content-Disposition'] == 'filename="a.zip"'
    assert server.post(path, '{"Filename": "b\\".zip"}').headers['Content-Disposition'] == 'filename="b.zip"'
    assert server.post('/tools/create-media', '[]').headers['Content-Disposition'] == 'filename="Archive.zip"'
    for answer, status, details in [
        (server.post(path, '{"Extended": 1}'), 400, 'Extended'),
        (server.post(path, ''), 400, ''),
        (server.get('/tools/create-media'), 400, 'resources'),
        (server.post('/tools/create-media-extended', '{}'), 400, 'Resources'),
        (server.get('/studies/nothing/media'), 404, 'nothing'),
        (server.post(path, '{"Transcode": "nonsense"}'), 400, 'nonsense'),
        (server.post(path, '{"Transcode": "1.2.840.10008.1.2.4.70"}'), 501, 'transcoding'),
        (server.get(path + '?transcode=1.2.840.10008.1.2.4.70'), 501, 'transcoding'),
    ]:
        assert answer.status_code == status and details in answer.json().get('Details', ''), answer.text
    assert server.request('PUT', path).status_code == 405
    assert server.get('/instances/%s/media' % stored['ID']).status_code == 404


@pytest.mark.parametrize('charset, name, codec', [
    ('ISO_IR 6', 'Doe^Jane', None),
    ('ISO_IR 100', 'Müller^Zoë', 'latin1'),
    ('ISO_IR 101', 'Łukasz^Żółć', 'latin2'),
    ('ISO_IR 192', 'Łukasz^Ωmega=山田^太郎', 'utf8'),
    (['', 'ISO 2022 IR 87'], 'Yamada^Tarou=山田^太郎=やまだ^たろう', None),
    ('GB18030', '王^小东', 'gb18030'),
    ('ISO_IR 166', 'นาย^สม', 'iso8859_11'),
])
def test_names_keep_their_letters(server, media, charset, name, codec):
    ds = instance(SpecificCharacterSet=charset, PatientName=name, StudyDescription='plain', Modality='MR')
    stored = server.upload(dicom_bytes(ds))
    found = media(server.get('/patients/%s/media' % stored['ParentPatient']))
    assert str(found.one('PATIENT').PatientName) == name
    for record in found.directory.DirectoryRecordSequence:
        if codec:  # what every reader of one-set media knows stays as it was
            assert record.SpecificCharacterSet == charset
    assert dcmtk('dcmdump', '+U8', media(server.get('/series/%s/media' % stored['ParentSeries'])).directory.filename).returncode == 0


def test_media_without_the_tags_that_a_directory_needs(server, media):
    missing = ['PatientID', 'PatientName', 'StudyDate', 'StudyTime', 'StudyDescription', 'AccessionNumber', 'Modality', 'SeriesNumber',
               'InstanceNumber', 'SpecificCharacterSet']
    study = generate_uid()
    uploads = []
    for series in [generate_uid() for _ in range(2)]:
        for _ in range(2):
            ds = instance(study, series)
            for tag in missing:
                delattr(ds, tag)
            uploads.append(server.upload(dicom_bytes(ds)))
    found = media(server.get('/studies/%s/media' % uploads[0]['ParentStudy']))
    patient, study = found.one('PATIENT'), found.one('STUDY')
    assert (patient.PatientID, patient.PatientName) == ('UNKNOWN', '')
    assert (study.StudyDate, study.StudyTime, study.StudyID) == ('19000101', '000000', '1')
    assert (study.StudyDescription, study.AccessionNumber) == ('', '')
    assert [(r.Modality, r.SeriesNumber) for r in found.records['SERIES']] == [('OT', 1), ('OT', 2)]
    assert [r.InstanceNumber for r in found.records['IMAGE']] == [1, 2, 1, 2]
    # Some other date is better than none.
    ds = instance(SeriesDate='20200102', SeriesTime='0304')
    del ds.StudyDate, ds.StudyTime
    study = media(server.get('/studies/%s/media' % server.upload(dicom_bytes(ds))['ParentStudy'])).one('STUDY')
    assert (study.StudyDate, study.StudyTime) == ('20200102', '0304')


def test_what_is_no_image_has_a_record_of_its_type(server, media):
    modifier, finding = Dataset(), Dataset()
    modifier.RelationshipType, modifier.ValueType = 'HAS CONCEPT MOD', 'CODE'
    modifier.ConceptNameCodeSequence = [code('121049', 'DCM', 'Language')]
    modifier.ConceptCodeSequence = [code('pl', 'RFC5646', 'Język')]
    finding.RelationshipType, finding.ValueType, finding.TextValue = 'CONTAINS', 'TEXT', 'secret'
    series = Dataset()
    series.SeriesInstanceUID = '1.2.3'
    title = [code('11528-7', 'LN', 'Radiology Rêport')]
    sources = [
        ('IMAGE', instance(), {}),
        ('SR DOCUMENT', other('88.11', CompletionFlag='COMPLETE', VerificationFlag='VERIFIED', VerificationDateTime='20260101120000',
                              ContentDate='20260102', ContentTime='0102', ConceptNameCodeSequence=title,
                              ContentSequence=[modifier, finding]),
         {'CompletionFlag': 'COMPLETE', 'VerificationFlag': 'VERIFIED', 'ContentDate': '20260102', 'ConceptNameCodeSequence': title,
          'VerificationDateTime': '20260101120000', 'ContentSequence': [modifier]}),
        ('SR DOCUMENT', other('88.33'), {'CompletionFlag': 'PARTIAL', 'VerificationFlag': 'UNVERIFIED',
                                         'ConceptNameCodeSequence': [code('261665006', 'SCT', 'Unknown')]}),
        ('KEY OBJECT DOC', other('88.59', ConceptNameCodeSequence=title), {'ConceptNameCodeSequence': title}),
        ('PRESENTATION', other('11.1', PresentationCreationDate='20260102', PresentationCreationTime='0102', ContentLabel='LABEL',
                               ContentDescription='Öpis', ReferencedSeriesSequence=[series]),
         {'PresentationCreationDate': '20260102', 'ContentLabel': 'LABEL', 'ContentDescription': 'Öpis', 'ContentCreatorName': '',
          'ReferencedSeriesSequence': [series]}),
        ('ENCAP DOC', other('104.1', EncapsulatedDocument=b'%PDF-1.4 ' * 10, MIMETypeOfEncapsulatedDocument='application/pdf',
                            DocumentTitle='Tytuł'),
         {'DocumentTitle': 'Tytuł', 'MIMETypeOfEncapsulatedDocument': 'application/pdf', 'ConceptNameCodeSequence': []}),
        ('ENCAP DOC', other('104.1', EncapsulatedDocument=bytes(3 << 20), MIMETypeOfEncapsulatedDocument='application/pdf'),
         {'MIMETypeOfEncapsulatedDocument': 'application/pdf', 'DocumentTitle': ''}),
        ('RT DOSE', instance(SOPClassUID=CLASSES + '481.2', DoseSummationType='BEAM'), {'DoseSummationType': 'BEAM'}),
        ('RT STRUCTURE SET', other('481.3', StructureSetLabel='Label', StructureSetDate='20260102'),
         {'StructureSetLabel': 'Label', 'StructureSetDate': '20260102', 'StructureSetTime': ''}),
        ('RT PLAN', other('481.5', RTPlanLabel='Plan'), {'RTPlanLabel': 'Plan', 'RTPlanDate': ''}),
        ('RT TREAT RECORD', other('481.4'), {'TreatmentDate': ''}),
        ('WAVEFORM', other('9.1.1', ContentDate='20260102'), {'ContentDate': '20260102', 'ContentTime': '101112'}),
        ('RAW DATA', other('66'), {'ContentDate': '20260102'}),
        ('REGISTRATION', other('66.1'), {'ContentLabel': 'UNKNOWN'}),
        ('VALUE MAP', other('67', ContentLabel='SUV'), {'ContentLabel': 'SUV'}),
        ('SPECTROSCOPY', other('4.2', ImageType=['ORIGINAL', 'PRIMARY'], Rows=2, Columns=3, DataPointRows=1, DataPointColumns=2048),
         {'ImageType': ['ORIGINAL', 'PRIMARY'], 'Rows': 2, 'Columns': 3, 'NumberOfFrames': 1, 'DataPointColumns': 2048}),
    ]
    study = generate_uid()
    for _, ds, _ in sources:
        ds.StudyInstanceUID = study
        stored = server.upload(dicom_bytes(ds))
    found = media(server.get('/studies/%s/media' % stored['ParentStudy']))
    records = {r.ReferencedSOPInstanceUIDInFile: r for kind in found.records.values() for r in kind if 'ReferencedFileID' in r}
    for kind, ds, expected in sources:
        record = records[ds.SOPInstanceUID]
        assert record.DirectoryRecordType == kind
        assert record.InstanceNumber == 1
        for keyword, value in expected.items():
            assert (record[keyword].value or '') == (value or ''), (kind, keyword)


def test_garbage_in_tags_makes_no_bad_directory(server, media):
    """Values that no VR allows, far too long, in the wrong character set, with what separates values and components."""
    garbage = [b'\\\\\\', b'=' * 500, b'^' * 999, b'\xff\xfe\x80' * 300, b'\x1b$B\x1b(B\x1b', b'x' * 70000, b' ', b'\n\r\t\x01', b'-1e99',
               b'99999999', b'\xc5', '山田'.encode('shift_jis') * 40, b'\x1b$)C\xb1\xe8' * 30]
    tags = ['PatientID', 'PatientName', 'StudyDate', 'StudyTime', 'StudyDescription', 'StudyID', 'AccessionNumber', 'Modality',
            'SeriesNumber', 'SeriesDescription', 'InstanceNumber', 'ContentDate', 'ContentTime', 'CompletionFlag', 'DocumentTitle']
    classes = ['1.2.840.10008.5.1.4.1.1.2', CLASSES + '88.11', CLASSES + '104.1', '1.2.3.4', CLASSES + '11.1']
    stored = []
    for n, value in enumerate(garbage):
        for charset in ['ISO_IR 100', 'ISO_IR 192', 'nonsense', '\\ISO 2022 IR 149']:
            ds = instance(SpecificCharacterSet='ISO_IR 100', SOPClassUID=classes[n % len(classes)])
            raw = dicom_bytes(ds)
            end = raw.index(b'DICM') + 4
            length = int.from_bytes(raw[end + 8:end + 12], 'little')
            values = {tag_of(t): value for t in tags}
            values.update({tag: str(ds[tag].value).encode() for tag in UIDS})
            values[(8, 5)] = charset.encode()
            body = b''.join(element(tag, values[tag]) for tag in sorted(values))
            stored.append(server.upload(raw[:end + 12 + length] + body)['ID'])
    found = media(server.post('/tools/create-media-extended', None, json=stored))
    assert len(found.instances) == len(set(stored)) == len(garbage) * 4


UIDS = [(0x0008, 0x0016), (0x0008, 0x0018), (0x0020, 0x000D), (0x0020, 0x000E)]


def tag_of(keyword):
    tag = tag_for_keyword(keyword)
    return tag >> 16, tag & 0xFFFF


def element(tag, data):
    """An element in Explicit VR Little Endian; of VR UN, so that any value fits, unless a server must understand it."""
    data += (b'\0' if tag in UIDS else b' ') * (len(data) % 2)
    head = tag[0].to_bytes(2, 'little') + tag[1].to_bytes(2, 'little')
    if tag in [*UIDS, (8, 5)]:
        return head + (b'CS' if tag == (8, 5) else b'UI') + len(data).to_bytes(2, 'little') + data
    return head + b'UN\0\0' + len(data).to_bytes(4, 'little') + data


def test_a_job_makes_media_that_every_process_hands_out(server, media):
    stored = [server.upload(dicom_bytes(instance(generate_uid()))) for _ in range(4)]
    made = create(server, '/tools/create-media', Resources=[s['ID'] for s in stored], Filename='out.zip', UserData='mine', Priority=3)
    ended = success(server, made)
    assert (ended['Type'], ended['Priority'], ended['UserData']) == ('Media', 3, 'mine')
    assert ended['Content']['InstancesCount'] == 4
    size = sum(int(server.json('/instances/%s/statistics' % s['ID'])['DicomDiskSize']) for s in stored)
    assert ended['Content']['UncompressedSize'] == str(size)
    for _ in range(3):
        answer = server.get('/jobs/%s/archive' % made)
        assert answer.headers['Content-Disposition'] == 'filename="out.zip"'
        assert ended['Content']['ArchiveSize'] == str(len(answer.content))
        assert len(media(answer).instances) == 4
    # A download is a job, too.
    assert server.get('/studies/%s/media' % stored[0]['ParentStudy']).status_code == 200
    assert sorted(j['Type'] for j in server.json('/jobs?expand')) == ['Media', 'Media']


def test_media_can_be_uploaded_again(server):
    stored = server.upload(dicom_bytes(instance()))
    body = body_of(server.get('/studies/%s/media' % stored['ParentStudy']))
    assert server.delete('/instances/' + stored['ID']).status_code == 200
    (again,) = server.upload(body)
    assert (again['ID'], again['Status']) == (stored['ID'], 'Success')


@pytest.mark.config(SynchronousZipStream=False)
def test_media_with_their_length(server, media):
    stored = server.upload(dicom_bytes(instance(size=1024)))
    answer = server.get('/studies/%s/media' % stored['ParentStudy'])
    assert answer.headers['Content-Length'] == str(len(answer.content))
    assert len(media(answer).instances) == 1


def test_a_directory_of_several_pieces(server, media):
    """More than fits into one piece of the archive: 1 MiB."""
    study, series = generate_uid(), generate_uid()
    name = 'Ω' * 60 + '=' + 'Ж' * 60 + '=' + '山' * 60
    body = io.BytesIO()
    count = 2000
    with zipfile.ZipFile(body, 'w') as archive:
        for n in range(count):
            ds = other('66.1', StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=n, ContentCreatorName=name)
            archive.writestr(str(n), dicom_bytes(ds))
    stored = server.upload(body.getvalue())
    found = media(server.get('/studies/%s/media' % stored[0]['ParentStudy']))
    assert len(found.instances) == count
    assert {str(r.ContentCreatorName) for r in found.records['REGISTRATION']} == {name}
