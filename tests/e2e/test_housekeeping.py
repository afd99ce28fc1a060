"""What is stored follows the configuration: main DICOM tags that are declared later are filled in by a job, and files are compressed or not
(`ExtraMainDicomTags`, `Housekeeper`). Processes of both configurations may run at the same time, and any may be killed."""
import datetime

import pytest
from client import Client
from dicom import dicom_bytes, instance
from jobs import act, create, success, wait_for, wait_for_state
from pydicom.dataset import Dataset

DICTIONARY = {'0009,1001': ['LO', 'ColourOfTheRoom', 1, 1, 'Acme']}
EXTRA = {'Patient': ['PatientComments'], 'Study': ['NameOfPhysiciansReadingStudy'], 'Series': ['ScanOptions'],
         'Instance': ['Rows', 'DerivationCodeSequence', 'ColourOfTheRoom']}
LEVELS = {'patients': 'ParentPatient', 'studies': 'ParentStudy', 'series': 'ParentSeries', 'instances': 'ID'}


def image(patient='P1', colour='blue', **tags):
    ds = instance(PatientID=patient, PatientComments='quiet', NameOfPhysiciansReadingStudy='Roe^R', ScanOptions='FAST', **tags)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = '113040', 'DCM', 'Lossy'
    ds.DerivationCodeSequence = [code]
    block = ds.private_block(0x0009, 'Acme', create=True)
    block.add_new(0x01, 'LO', colour)
    return ds


def client(node):
    return Client(node.url, node.dicom_port)


def runs(server):
    """The jobs, oldest first."""
    return [job for job in server.json('/jobs?expand') if job['Type'] == 'Housekeeping']


def ended(server, count=1):
    def all_ended():
        jobs = runs(server)
        return len(jobs) == count and all(job['State'] == 'Success' for job in jobs) and jobs
    return wait_for(all_ended, 40, '%d runs' % count)


def tags(server, stored, level):
    return server.json('/%s/%s' % (level, stored[LEVELS[level]]))['MainDicomTags']


def is_filled(server, stored):
    seen = {level: tags(server, stored, level) for level in LEVELS}
    return ('Rows' in seen['instances'] and 'ScanOptions' in seen['series'] and 'PatientComments' in seen['patients']
            and 'NameOfPhysiciansReadingStudy' in seen['studies'])


def find(server, level='Instance', **more):
    answer = server.post('/tools/find', None, json={'Level': level, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def is_compressed(server, stored):
    return server.get('/instances/%s/attachments/dicom/is-compressed' % stored['ID']).text == '1'


def test_declared_tags_are_filled_in_once(node):
    one = node({'Dictionary': DICTIONARY}).start()
    server = client(one)
    stored = server.upload(dicom_bytes(image()))
    assert runs(server) == [], 'an empty server has nothing to do'
    before = {level: server.json('/%s/%s' % (level, stored[key])) for level, key in LEVELS.items()}
    changes = server.json('/changes')
    one.stop()
    one.config['ExtraMainDicomTags'] = EXTRA
    one.start()
    job, = ended(server)
    assert (job['Content']['StudiesDone'], job['Content']['ChangedInstancesCount'], job['Content']['FailedInstancesCount']) == (1, 1, 0)
    more = {'patients': {'PatientComments': 'quiet'}, 'studies': {'NameOfPhysiciansReadingStudy': 'Roe^R'}, 'series': {'ScanOptions': 'FAST'}}
    for level, extra in more.items():
        assert tags(server, stored, level) == {**before[level]['MainDicomTags'], **extra}
    own = tags(server, stored, 'instances')
    assert (own['Rows'], own['ColourOfTheRoom']) == ('16', 'blue')
    assert own['DerivationCodeSequence'][0]['CodeValue'] == '113040'
    study = server.json('/studies/' + stored['ParentStudy'])
    assert study['PatientMainDicomTags']['PatientComments'] == 'quiet' and study['LastUpdate'] == before['studies']['LastUpdate']
    assert server.json('/changes')['Changes'][:len(changes['Changes'])] == changes['Changes']
    signatures = server.json('/system')['MainDicomTags']
    for level, key in LEVELS.items():
        name = {'patients': 'Patient', 'studies': 'Study', 'series': 'Series', 'instances': 'Instance'}[level]
        assert server.get('/%s/%s/metadata/MainDicomTagsSignature' % (level, stored[key])).text == signatures[name]
    assert find(server, Query={'ColourOfTheRoom': 'BLUE', 'PatientComments': 'quiet'}) == [stored['ID']]
    one.kill()
    one.start()
    assert [job['ID'] for job in runs(server)] == [job['ID']], 'once'
    assert server.get('/housekeeper/status').status_code == 404
    # What is declared no more stays until the rows are written anew.
    one.stop()
    one.config.pop('ExtraMainDicomTags')
    one.config['Housekeeper'] = {'Enable': True, 'Force': True, 'ThrottleDelay': 0, 'Triggers': {'MainDicomTagsChange': False}}
    one.start()
    wait_for(lambda: 'Rows' not in tags(server, stored, 'instances'), 20)
    assert {level: server.json('/%s/%s' % (level, stored[key]))['MainDicomTags'] for level, key in LEVELS.items()} \
        == {level: view['MainDicomTags'] for level, view in before.items()}


def test_processes_with_other_tags_side_by_side(node, database):
    """The old one goes on to store rows that lack what the new one declares: both answer the same, and nothing loops."""
    shared = {'StorageDirectory': '../storage', 'PostgreSQL': database.options, 'Dictionary': DICTIONARY, 'JobsHistorySize': 100}
    old, new = node(shared), node({**shared, 'ExtraMainDicomTags': EXTRA})
    before = client(old.start())
    first = before.upload(dicom_bytes(image('P1', 'blue')))
    after = client(new.start())
    ended(after)
    assert is_filled(after, first) and is_filled(before, first), 'rows are shared'
    second = before.upload(dicom_bytes(image('P2', 'red', Rows=16)))
    third = after.upload(dicom_bytes(image('P2', 'green')))
    for server in [before, after]:
        by_colour = {colour: find(server, Query={'ColourOfTheRoom': colour}) for colour in ['blue', 'red', 'green', 'x']}
        assert by_colour == {'blue': [first['ID']], 'red': [second['ID']], 'green': [third['ID']], 'x': []}
        assert sorted(find(server, Query={'Rows': '16'})) == sorted(s['ID'] for s in [first, second, third])
        studies = find(server, 'Study', Query={'PatientComments': 'q*'})
        assert len(studies) == 3 and find(server, 'Study', Query={'PatientComments': 'q*'}, Limit=2, Since=1) == studies[1:3]
        assert server.post('/tools/count-resources', None, json={'Level': 'Study', 'Query': {'PatientComments': 'q*'}}).json() == {'Count': 3}
        wanted = ['Rows', 'ColourOfTheRoom', 'ScanOptions', 'PatientComments', 'DerivationCodeSequence', 'ImageType']
        answers = find(server, Query={}, Expand=True, RequestedTags=wanted)
        assert {a['RequestedTags']['ColourOfTheRoom'] for a in answers} == {'blue', 'red', 'green'}
        for answer in answers:
            asked = answer['RequestedTags']
            assert (asked['Rows'], asked['ScanOptions'], asked['PatientComments']) == ('16', 'FAST', 'quiet')
            assert asked['DerivationCodeSequence'][0]['CodeMeaning'] == 'Lossy' and asked.get('ImageType') is None
    assert not is_filled(after, second) and len(runs(after)) == 1
    # A start of either changes nothing: each set of tags was seen to.
    new.stop()
    new.start()
    assert len(runs(after)) == 1 and before.get('/studies/' + first['ParentStudy']).status_code == 200
    # When the last process without the tags is gone, what it stored is caught up.
    old.stop()
    ended(after, 2)
    assert is_filled(after, second)


def test_a_killed_process_is_followed_by_another(node, database):
    """Two processes bring the same data to their configuration: one at a time, and the other goes on where it was killed."""
    shared = {'StorageDirectory': '../storage', 'PostgreSQL': database.options}
    first = node(shared).start()
    server = client(first)
    stored = [server.upload(dicom_bytes(image('P%d' % n, size=64))) for n in range(4)]
    assert not any(is_compressed(server, one) for one in stored)
    first.stop()
    changed = {**shared, 'Dictionary': DICTIONARY, 'StorageCompression': True, 'ExtraMainDicomTags': EXTRA, 'Housekeeper': {'Enable': True, 'ThrottleDelay': 2}}
    both = [node(changed), node(changed)]
    for one in both:
        one.spawn()
    for one in both:
        one.wait_until_ready()
    server = client(both[0])
    job = wait_for(lambda: next((j for j in runs(server) if j['Content'].get('StudiesDone')), None), 20)
    at_work = {n['Pid'] for n in server.json('/cluster/nodes') if n['RunningJobs']}
    runner, other = sorted(both, key=lambda one: one.process.pid not in at_work)
    assert at_work == {runner.process.pid}
    runner.kill()
    server = client(other)
    status = server.json('/plugins/housekeeper/status')
    assert status['CurrentlyProcessingConfiguration']['StorageCompressionEnabled'] is True
    assert status['LastProcessedConfiguration']['StorageCompressionEnabled'] is False
    assert 0 <= status['LastProcessedChange'] < status['LastChangeToProcess'] and status['LastTimeStarted']
    done, = ended(server)
    assert done['ID'] == job['ID'] and done['Content']['StudiesDone'] <= 5, 'at most one study was gone through twice'
    assert all(is_compressed(server, one) and is_filled(server, one) for one in stored)
    for one in stored:
        assert server.post('/instances/%s/attachments/dicom/verify-md5' % one['ID'], '').status_code == 200
    status = server.json('/housekeeper/status')
    assert status['LastProcessedConfiguration']['MainDicomTagsSignature'] == server.json('/system')['MainDicomTags']
    assert (status['LastProcessedChange'], status['CurrentlyProcessingConfiguration']) == (-1, None)


def test_the_housekeeper_keeps_its_hours(node):
    one = node().start()
    server = client(one)
    stored = server.upload(dicom_bytes(image(size=64)))
    uuid = server.json('/instances/' + stored['ID'])['FileUuid']
    one.stop()
    tomorrow = (datetime.datetime.now() + datetime.timedelta(hours=30)).strftime('%A')
    one.config.update(StorageCompression=True, ConcurrentJobs=1, Housekeeper={'Enable': True, 'Schedule': {tomorrow: ['0-24']}})
    one.start()
    assert 'housekeeper' in server.json('/plugins')
    job = wait_for(lambda: next((j for j in runs(server) if j['State'] == 'Running'), None))
    success(server, create(server, '/studies/%s/archive' % stored['ParentStudy']))  # the run takes no worker
    assert act(server, job['ID'], 'pause') == 200
    wait_for_state(server, job['ID'], 'Paused')
    assert act(server, job['ID'], 'resume') == 200
    assert not is_compressed(server, stored) and job['Content']['StudiesDone'] == 0
    one.kill()
    one.config['Housekeeper'] = {'Enable': True, 'ThrottleDelay': 0}
    one.start()
    assert [job['ID'] for job in ended(server)] == [job['ID']]
    assert is_compressed(server, stored) and server.json('/instances/' + stored['ID'])['FileUuid'] != uuid
    # A cancelled run is left alone until the next start.
    one.stop()
    one.config.update(StorageCompression=False, Housekeeper={'Enable': True, 'Schedule': {tomorrow: ['0-24']}})
    one.start()
    last = wait_for(lambda: next((j for j in runs(server) if j['State'] == 'Running'), None))
    assert act(server, last['ID'], 'cancel') == 200
    one.stop()
    one.config['Housekeeper'] = {'Enable': True}
    one.start()
    wait_for(lambda: not is_compressed(server, stored))


@pytest.mark.config(Housekeeper={'Enable': True})
def test_a_new_server_has_nothing_to_keep(server):
    status = server.json('/housekeeper/status')
    assert status == server.json('/plugins/housekeeper/status') and runs(server) == []
    assert status == {
        'CurrentlyProcessingConfiguration': None, 'LastChangeToProcess': -1, 'LastProcessedChange': -1, 'LastTimeStarted': None,
        'LastProcessedConfiguration': {
            'DicomWebVersion': '', 'IngestTranscoding': '', 'MainDicomTagsSignature': server.json('/system')['MainDicomTags'],
            'OrthancVersion': '1.13.0', 'StorageCompressionEnabled': False},
        'Version': 1}
