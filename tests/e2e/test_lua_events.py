"""Lua callbacks of events: each is delivered, on one process, in order, whoever dies; operations; heart beats."""
import json
import re
import time
from collections import Counter

import pytest
from client import Client
from conftest import client_of
from dicom import dicom_bytes, instance
from jobs import wait_for
from pydicom.uid import generate_uid
from test_lua import printed, scripts

# Each callback says its name and its arguments.
TELL = '''
function tell(name, ...)
   local all = {...}
   print('EVENT ' .. DumpJson({name, all[1] or '', all[2] or {}, all[3] or {}, all[4] or {}}))
end
'''
NAMES = ['OnStoredInstance', 'OnNewSeries', 'OnStablePatient', 'OnStableStudy', 'OnStableSeries', 'OnUpdatedStudy', 'OnDeletedInstance',
         'OnDeletedStudy', 'OnDeletedSeries', 'OnDeletedPatient', 'OnJobSubmitted', 'OnJobSuccess', 'OnJobFailure']
ALL = TELL + '\n'.join('function %s(...) tell("%s", ...) end' % (name, name) for name in NAMES)


def events(nodes):
    """What callbacks have said, by process."""
    found = []
    for node in nodes:
        for line in re.findall(r'Lua says: EVENT (.*)', node.log):
            found.append(json.loads(line))
    return found


def named(server, name):
    return [e for e in events(server.nodes) if e[0] == name]


@pytest.mark.config(ExecuteLuaEnabled=True, StableAge=1)
def test_every_event_is_told_once(server):
    printed(server, ALL)
    stored = server.upload(dicom_bytes(instance()))
    wait_for(lambda: len(named(server, 'OnStableStudy')) == 1, 15, 'OnStableStudy')
    [[_, identifier, tags, metadata, origin]] = named(server, 'OnStoredInstance')
    assert identifier == stored['ID'] and tags['PatientName'] == 'Doe^Jane' and tags['Rows'] == '16'
    assert metadata['TransferSyntax'] == '1.2.840.10008.1.2.1' and origin['RequestOrigin'] == 'RestApi'
    assert set(origin) == {'RequestOrigin', 'RemoteIp', 'Username'}
    [[_, study, tags, metadata, _]] = named(server, 'OnStableStudy')
    assert study == stored['ParentStudy'] and tags['StudyDescription'] == 'Head' and 'PatientName' not in tags and 'LastUpdate' in metadata
    assert [e[1] for e in named(server, 'OnNewSeries')] == [stored['ParentSeries']]
    assert server.request('PUT', '/studies/%s/metadata/1024' % study, data='x').status_code == 200
    wait_for(lambda: [e[1] for e in named(server, 'OnUpdatedStudy')] == [study], 15, 'OnUpdatedStudy')
    job = server.post('/studies/%s/archive' % study, '{"Synchronous": false}').json()['ID']
    wait_for(lambda: [e[1] for e in named(server, 'OnJobSuccess')] == [job], 15, 'OnJobSuccess')
    assert [e[1] for e in named(server, 'OnJobSubmitted')] == [job]
    server.delete('/patients/%s' % stored['ParentPatient'])
    wait_for(lambda: len(named(server, 'OnDeletedPatient')) == 1, 15, 'OnDeletedPatient')
    wait_for(lambda: len([e for e in events(server.nodes) if e[0].startswith('OnDeleted')]) == 4, 15, 'deletions')
    time.sleep(1)
    counts = Counter(e[0] for e in events(server.nodes))
    assert counts == {name: 1 for name in NAMES if name != 'OnJobFailure'}, counts


@scripts
def test_a_callback_that_fails_or_never_ends_does_not_stop_the_others(server):
    printed(server, TELL + '''
        function OnStoredInstance(id, tags)
           if tags.PatientID == 'FAIL' then error('as wanted') end
           if tags.PatientID == 'LOOP' then while true do pcall(function() while true do end end) end end
           tell('stored', tags.PatientID)
        end''')
    for patient in ['FAIL', 'LOOP', 'GOOD']:
        server.upload(dicom_bytes(instance(PatientID=patient)))
    wait_for(lambda: [e[1] for e in named(server, 'stored')] == ['GOOD'], 15, 'GOOD')
    wait_for(lambda: any('too long' in n.log for n in server.nodes), 30, 'the end of the loop')


def test_a_damaged_file_does_not_hold_up_the_events_behind_it(node):
    one = node({'ExecuteLuaEnabled': True}).start()
    server = Client(one.url, one.dicom_port)
    printed(server, TELL + """
        function OnStoredInstance(id, tags)
           tell('stored', tags.PatientID)
           if tags.PatientID == 'LONG' then while true do end end
        end""")
    told = lambda: [e[1] for e in events([one])]
    server.upload(dicom_bytes(instance(PatientID='LONG')))
    wait_for(lambda: told() == ['LONG'], 15, 'LONG')
    before = set(one.blobs())
    bad = server.upload(dicom_bytes(instance(PatientID='BAD')))['ID']
    [blob] = set(one.blobs()) - before
    blob.write_bytes(b'x' * blob.stat().st_size)
    server.upload(dicom_bytes(instance(PatientID='GOOD')))
    wait_for(lambda: told() == ['LONG', 'GOOD'], 30, 'GOOD')
    wait_for(lambda: 'instance %s cannot be told' % bad in one.log, 5, 'why')
    time.sleep(1)
    assert one.log.count('cannot be told') == 1


def test_events_wait_for_a_storage_area_that_is_away(node):
    one = node({'ExecuteLuaEnabled': True, 'IndexDirectory': 'index'}).start()
    server = Client(one.url, one.dicom_port)
    printed(server, TELL + """
        function OnStoredInstance(id, tags)
           tell('stored', tags.PatientID)
           local now = os.time()
           while tags.PatientID == 'FIRST' and os.time() < now + 2 do end
        end""")
    told = lambda: [e[1] for e in events([one])]
    server.upload(dicom_bytes(instance(PatientID='FIRST')))
    wait_for(lambda: told() == ['FIRST'], 15, 'FIRST')
    away = one.storage.with_name('away')
    # While the first callback runs, no other event is begun.
    server.upload(dicom_bytes(instance(PatientID='SECOND')))
    one.storage.rename(away)
    one.storage.touch()
    wait_for(lambda: 'events of scripts cannot be delivered now' in one.log, 15, 'a try in vain')
    time.sleep(1)
    one.storage.unlink()
    away.rename(one.storage)
    wait_for(lambda: told() == ['FIRST', 'SECOND'], 30, 'SECOND')


@scripts
def test_callbacks_send_and_delete(server, receiver):
    there = receiver()
    modality = there.modality
    assert server.request('PUT', '/modalities/there', data=json.dumps(modality)).status_code == 200
    assert server.request('PUT', '/modalities/nowhere', data=json.dumps({**modality, 'Port': 1})).status_code == 200
    printed(server, '''
        function OnStoredInstance(id, tags)
           Delete(SendToModality(id, tags.PatientID == 'STAYS' and 'nowhere' or 'there', aet))
        end
        aet = 'LUA' ''')
    ids = [server.upload(dicom_bytes(instance(PatientID=p)))['ID'] for p in ['A', 'B', 'STAYS']]
    wait_for(lambda: server.json('/instances') == [ids[2]], 30, 'the two others are gone')
    assert len(there.counts()) == 2
    wait_for(lambda: all(j['State'] == 'Success' for j in server.json('/jobs?expand')), 30, 'the end of the jobs')
    kinds = {j['Type'] for j in server.json('/jobs?expand')}
    assert kinds == {'SequenceOfOperations'}
    time.sleep(1)
    assert server.json('/instances') == [ids[2]], 'what was not sent is not deleted'


def test_commands_of_the_system_are_refused(node, tmp_path):
    script = tmp_path / 'call.lua'
    script.write_text('function OnStoredInstance(id) CallSystem(id, "touch", {"%s/made"}) end' % tmp_path)
    one = node({'LuaScripts': [str(script)]}).start()
    server = Client(one.url, one.dicom_port)
    server.upload(dicom_bytes(instance()))
    wait_for(lambda: 'call-system is not there' in one.log, 15, 'the refusal')
    assert not (tmp_path / 'made').exists() and server.json('/jobs') == []


def test_initialize_finalize_and_heart_beats(node, tmp_path):
    script = tmp_path / 'life.lua'
    script.write_text(TELL + 'function Initialize() tell("begin") end function Finalize() tell("end") end '
                             'function OnHeartBeat() tell("beat") end')
    one = node({'LuaScripts': [str(script)], 'LuaHeartBeatPeriod': 2}).start()
    time.sleep(7)
    assert one.stop()[0] == 0
    names = [e[0] for e in events([one])]
    assert names[0] == 'begin' and names[-1] == 'end' and 2 <= names.count('beat') <= 4, names


@pytest.fixture
def three(cluster, tmp_path):
    def make(script, **config):
        path = tmp_path / 'events.lua'
        path.write_text(TELL + script)
        return client_of(cluster({'LuaScripts': [str(path)], **config}).start())
    return make


def test_one_heart_for_the_cluster(three):
    server = three('function OnHeartBeat() tell("beat") end', LuaHeartBeatPeriod=2)
    before = len(named(server, 'beat'))
    time.sleep(8)
    assert 3 <= len(named(server, 'beat')) - before <= 5


def test_every_event_is_delivered_although_processes_are_killed(three):
    slow = 'local n = 0 for i = 1, 2000000 do n = n + i end'
    server = three('''
        function OnStoredInstance(id) %s tell("stored", id) end
        function OnUpdatedSeries(id) tell("updated", id, RestApiGet('/series/' .. id .. '/metadata/1024')) end''' % slow)
    series = generate_uid()
    study = generate_uid()
    expected, parent = set(), None
    for round in range(3):
        for n in range(15):
            stored = Client(server.nodes[n % 3].url, server.nodes[n % 3].dicom_port).upload(dicom_bytes(instance(study, series)))
            parent = stored['ParentSeries']
            expected.add(stored['ID'])
            path = '/series/%s/metadata/1024' % parent
            assert server.nodes and server.request('PUT', path, data='%d' % (round * 15 + n)).status_code == 200
        victim = server.nodes[round]
        victim.kill()
        victim.start()
    wait_for(lambda: {e[1] for e in named(server, 'stored')} >= expected, 90, 'all stored instances')
    told = Counter(e[1] for e in named(server, 'stored'))
    assert set(told) == expected
    twice = [identifier for identifier, n in told.items() if n > 1]
    assert len(twice) <= 3 * 4, 'only what was being delivered when its process died comes again'
    wait_for(lambda: sum(1 for e in named(server, 'updated')) >= 45, 30, 'all updates')


def test_nothing_is_written_when_nobody_listens(cluster, database):
    server = client_of(cluster({'ExecuteLuaEnabled': True}).start())
    count = 'SELECT count(*) FROM pleiad.event'
    server.upload(dicom_bytes(instance()))
    assert database.sql(count) == '0'
    printed(server, 'function OnNoSuchThing() end')
    server.upload(dicom_bytes(instance()))
    assert database.sql(count) == '0'
    printed(server, TELL + 'function OnStoredInstance(id) tell("stored", id) end')
    stored = server.upload(dicom_bytes(instance()))
    wait_for(lambda: [e[1] for e in named(server, 'stored')] == [stored['ID']], 10, 'the event')
    wait_for(lambda: database.sql(count) == '0', 10, 'the outbox is empty')
    printed(server, 'OnStoredInstance = nil')
