"""Lua: key-value stores, SetStableStatus, the filter of instances that are sent."""
import json

import pytest
from client import Client
from dicom import dicom_bytes, instance
from jobs import wait_for
from test_lua import everywhere, lua, printed, scripts


def of(node):
    return Client(node.url, node.dicom_port)


@scripts
def test_what_one_process_stores_every_other_reads(server):
    first = of(server.nodes[0])
    assert printed(first, 'print(GetKeyValue("shelf", "a"))') == 'nil\n'
    assert printed(first, 'print(StoreKeyValue("shelf", "a", "x\\0\\255"), StoreKeyValue("shelf", 5, 7))') == 'true, true\n'
    assert everywhere(server, 'print(GetKeyValue("shelf", "a") == "x\\0\\255", GetKeyValue("shelf", "5"), GetKeyValue("other", "a"))') \
        == {'true, 7, nil\n'}
    last = of(server.nodes[-1])
    printed(last, 'StoreKeyValue("shelf", "a", "")  DeleteKeyValue("shelf", "5")  DeleteKeyValue("shelf", "none")')
    assert everywhere(server, 'print(GetKeyValue("shelf", "a") == "", GetKeyValue("shelf", "5"))') == {'true, nil\n'}


@scripts
def test_bad_arguments_are_errors(server):
    for bad, words in [('StoreKeyValue("a", "b")', 'StoreKeyValue(store, key, value) takes 3 strings'),
                       ('StoreKeyValue("a", "b", {})', 'takes 3 strings'), ('GetKeyValue(nil, "b")', 'takes 2 strings'),
                       ('DeleteKeyValue("a", "b", "c")', 'takes 2 strings'), ('SetStableStatus("a", 1)', 'a string and a boolean'),
                       ('GetKeyValue("a", ("x"):rep(3000))', 'more than 2000 bytes'),
                       ('ModifyInstance("a", {}, {}, true)', 'not implemented')]:
        answer = lua(server, bad)
        assert answer.status_code == 500 and words in answer.text, (bad, answer.text)


def test_values_outlive_the_process(node, tmp_path):
    script = tmp_path / 'count.lua'
    script.write_text('StoreKeyValue("starts", "n", (GetKeyValue("starts", "n") or "") .. "i")')
    one = node({'LuaScripts': [str(script)], 'ExecuteLuaEnabled': True}).start()
    ask = lambda: printed(of(one), 'print(GetKeyValue("starts", "n"))')
    before = ask()
    one.kill()
    one.start()
    assert len(ask()) > len(before) > 1


@pytest.mark.config(ExecuteLuaEnabled=True, StableAge=3600)
def test_a_script_makes_resources_stable(server):
    printed(server, '''
        function OnStoredInstance(id, tags)
           if tags.PatientID == 'NOW' then SetStableStatus(ParseJson(RestApiGet('/instances/' .. id))['ParentSeries'], true) end
        end
        function OnStableSeries(id) StoreKeyValue('stable', id, 'yes') end''')
    other, stored = [server.upload(dicom_bytes(instance(PatientID=p))) for p in ['LATER', 'NOW']]
    series = stored['ParentSeries']
    wait_for(lambda: everywhere(server, 'print(GetKeyValue("stable", "%s"))' % series) == {'yes\n'}, 15, 'OnStableSeries')
    assert all(of(n).json('/series/' + series)['IsStable'] for n in server.nodes)
    assert not server.json('/studies/' + stored['ParentStudy'])['IsStable']
    assert not server.json('/series/' + other['ParentSeries'])['IsStable']
    say = 'print(SetStableStatus("%s", %s))'
    for state, answer in [('true', 'false'), ('false', 'true'), ('false', 'false')]:
        assert printed(server, say % (series, state)) == answer + '\n'
    assert not server.json('/series/' + series)['IsStable']
    assert [printed(server, say % (i, 'true')) for i in [stored['ID'], 'nonsense']] == ['nil\n'] * 2
    told = [c['ID'] for c in server.json('/changes?limit=100')['Changes'] if c['ChangeType'] == 'StableSeries']
    assert told == [series]


@scripts
def test_a_script_holds_instances_back(server, receiver):
    there = receiver()
    assert server.request('PUT', '/modalities/there', data=json.dumps(there.modality)).status_code == 200
    printed(server, '''
        function OutgoingCStoreInstanceFilter(dicom, destination)
           if dicom.PatientID == 'ODD' then return 5 end
           return dicom.PatientID ~= 'STAYS' or destination.RemoteAet ~= '%s' or destination.RemoteIp == nil
        end''' % there.modality['AET'])
    goes, stays, odd = [server.upload(dicom_bytes(instance(PatientID=p)))['ID'] for p in ['GOES', 'STAYS', 'ODD']]
    answer = server.post('/modalities/there/store', json.dumps([stays, goes]))
    assert answer.status_code == 200 and answer.json()['FailedInstancesCount'] == 0
    assert len(there.counts()) == 1
    answer = server.post('/modalities/there/store', odd)
    assert answer.status_code == 500 and 'must return true or false' in answer.text
    assert len(there.counts()) == 1
