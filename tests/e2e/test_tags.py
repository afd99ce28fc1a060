"""What is told about the data sets that are stored."""
from dicom import dicom_bytes, instance


def test_modules_hold_the_tags_of_their_level(server):
    stored = server.upload(dicom_bytes(instance(
        PatientComments='quiet', NameOfPhysiciansReadingStudy='Roe^R', PatientPosition='HFS', Manufacturer='Acme')))
    above = {'patients': 'ParentPatient', 'studies': 'ParentStudy', 'series': 'ParentSeries', 'instances': 'ID'}

    def module(level, name='module', **params):
        return server.json('/%s/%s/%s' % (level, stored[above[level]], name), params=params)

    patient = {'PatientName': 'Doe^Jane', 'PatientID': 'P1', 'PatientBirthDate': '19700101', 'PatientSex': 'F',
               'PatientComments': 'quiet'}
    assert module('patients', simplify='') == patient
    assert module('studies', 'module-patient', simplify='') == patient
    study = module('studies', simplify='')
    assert study['NameOfPhysiciansReadingStudy'] == 'Roe^R' and study['StudyDescription'] == 'Head'
    assert 'PatientName' not in study and 'Manufacturer' not in study
    series = module('series', short='')
    assert series['0018,5100'] == 'HFS' and series['0008,0060'] == 'CT' and '0008,0070' not in series
    sop = module('instances')
    assert sop['0008,0018']['Name'] == 'SOPInstanceUID' and '0020,000d' not in sop
    for level in ['patients', 'series', 'instances']:
        assert server.get('/%s/%s/module-patient' % (level, stored[above[level]])).status_code == 404
    assert server.get('/studies/%s/module' % stored['ID']).status_code == 404


def test_long_values_of_a_module(server):
    stored = server.upload(dicom_bytes(instance(PatientComments='x' * 300)))
    path = '/patients/%s/module' % stored['ParentPatient']
    assert server.json(path)['0010,4000']['Type'] == 'TooLong'
    assert server.json(path + '?simplify&ignore-length=PatientComments')['PatientComments'] == 'x' * 300


def test_files_of_one_patient_id_may_disagree_about_the_name(server):
    for name in ['Foo', 'Hello', 'World']:
        server.upload(dicom_bytes(instance(PatientID='COMMON', PatientName=name, StudyDescription=name)))
    assert len(server.json('/patients')) == 1

    def find(level, **more):
        answer = server.post('/tools/find', None, json={'Level': level, 'Expand': True, **more})
        assert answer.status_code == 200
        return answer.json()

    assert len(find('Study', CaseSensitive=True, Query={'PatientName': 'Foo\\Hello'})) == 2
    series, = find('Series', Query={'PatientName': 'fOO'}, RequestedTags=['PatientName', 'StudyDescription'])
    assert series['RequestedTags'] == {'PatientName': 'Foo', 'StudyDescription': 'Foo'}
    assert server.json('/series/%s/study' % series['ID'])['PatientMainDicomTags']['PatientName'] == 'Foo'
    for study in server.json('/studies?expand'):
        assert study['PatientMainDicomTags'] == {
            'PatientID': 'COMMON', 'PatientName': study['MainDicomTags']['StudyDescription'],
            'PatientBirthDate': '19700101', 'PatientSex': 'F'}


def test_decimal_strings_keep_their_digits_in_dicom_json(server):
    ds = instance(PixelSpacing=['0.50', '1e-3'], SliceThickness='2.0', InstanceNumber=7)
    path = server.upload(dicom_bytes(ds))['Path']
    answer = server.json(path + '/file', headers={'Accept': 'application/dicom+json'})
    assert answer['00280030'] == {'vr': 'DS', 'Value': ['0.50', '1e-3']}
    assert answer['00180050'] == {'vr': 'DS', 'Value': ['2.0']}
    assert answer['00200013'] == {'vr': 'IS', 'Value': [7]}
    assert answer['00280010'] == {'vr': 'US', 'Value': [16]}
