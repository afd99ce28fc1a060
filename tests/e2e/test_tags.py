"""What is told about the data sets that are stored."""
from client import Client
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


LEVELS = {'patients': 'ParentPatient', 'studies': 'ParentStudy', 'series': 'ParentSeries', 'instances': 'ID'}


# Nothing is filled in by itself (see test_housekeeping).
BY_HAND = {'Housekeeper': {'Enable': True, 'Triggers': {'MainDicomTagsChange': False}}}


def test_reconstruct_after_a_change_of_the_configuration(node):
    """Main tags that are declared later are known for what was stored earlier, level by level if that is asked for."""
    one = node(BY_HAND).start()
    server = Client(one.url, one.dicom_port)
    stored = server.upload(dicom_bytes(instance(PatientComments='quiet', Manufacturer='Acme', ContentTime='1200')))
    before = {level: server.json('/%s/%s' % (level, stored[key])) for level, key in LEVELS.items()}
    changes = server.json('/changes')['Changes']
    one.stop()
    one.config['ExtraMainDicomTags'] = {'Patient': ['PatientComments'], 'Study': ['StudyID'], 'Series': ['PatientPosition'],
                                        'Instance': ['ContentTime']}
    one.start()

    def tags(level):
        return server.json('/%s/%s' % (level, stored[LEVELS[level]]))['MainDicomTags']

    def reconstruct(level, **fields):
        return server.post('/%s/%s/reconstruct' % (level, stored[LEVELS[level]]), None, json=fields).status_code

    assert 'PatientComments' not in tags('patients')
    assert reconstruct('instances', LimitToThisLevelMainDicomTags=True) == 200
    assert tags('instances') == {**before['instances']['MainDicomTags'], 'ContentTime': '1200'}
    assert 'PatientComments' not in tags('patients')
    assert server.post('/studies/%s/reconstruct' % stored['ParentStudy'], None).status_code == 200
    assert tags('patients') == {**before['patients']['MainDicomTags'], 'PatientComments': 'quiet'}
    study = server.json('/studies/' + stored['ParentStudy'])
    assert study['PatientMainDicomTags']['PatientComments'] == 'quiet'
    assert study['LastUpdate'] == before['studies']['LastUpdate']
    assert server.json('/changes')['Changes'][:len(changes)] == changes
    signature = server.get('/patients/%s/metadata/MainDicomTagsSignature' % stored['ParentPatient']).text
    assert '0010,4000' in signature
    for body in ['[]', 'junk', '{"LimitToThisLevelMainDicomTags": 1}']:
        assert server.post('/studies/%s/reconstruct' % stored['ParentStudy'], body).status_code == 400, body
    assert server.post('/studies/%s/reconstruct' % stored['ID'], None).status_code == 404


def test_reconstruct_everything(node):
    one = node(BY_HAND).start()
    server = Client(one.url, one.dicom_port)
    stored = [server.upload(dicom_bytes(instance(PatientID=p, PatientComments=p))) for p in ['A', 'B']]
    one.stop()
    one.config['ExtraMainDicomTags'] = {'Patient': ['PatientComments']}
    one.start()
    assert server.post('/tools/reconstruct', None).status_code == 200
    for one, comments in zip(stored, ['A', 'B']):
        assert server.json('/patients/' + one['ParentPatient'])['MainDicomTags']['PatientComments'] == comments
