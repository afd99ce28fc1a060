"""Lua callbacks that refuse instances and requests."""
import json

import pytest
from client import Client
from dicom import dicom_bytes, dcmtk, files, instance
from test_lua import printed, scripts


def all_processes(server):
    return [Client(n.url, n.dicom_port, n.aet) for n in server.nodes]


@scripts
def test_instances_are_filtered(server):
    printed(server, '''
        function ReceivedInstanceFilter(dicom, origin, info)
           if dicom.PatientID == 'FAIL' then error('as wanted') end
           if dicom.PatientID == 'WRONG' then return 5 end
           if dicom.PatientID == 'SHOW' then
              RestApiPut('/tools/default-encoding', 'Latin1')
              print(DumpJson({dicom, origin, info}))
           end
           return dicom.PatientID ~= 'NO'
        end''')
    for client in all_processes(server):
        answer = client.post('/instances', dicom_bytes(instance(PatientID='NO')))
        assert answer.status_code == 200 and answer.json()['Status'] == 'FilteredOut', answer.text
        for bad in ['FAIL', 'WRONG']:
            answer = client.post('/instances', dicom_bytes(instance(PatientID=bad)))
            assert answer.status_code == 500 and answer.json()['OrthancStatus'] == 2031
    assert server.json('/instances') == [] and all(not n.blobs() for n in server.nodes[:1])
    assert server.post('/instances', dicom_bytes(instance(PatientID='SHOW'))).json()['Status'] == 'Success'
    shown = [line for n in server.nodes for line in n.log.splitlines() if 'Lua says: [{' in line]
    dicom, origin, info = json.loads(shown[-1].split('Lua says: ')[1])
    assert (dicom['PatientName'], dicom['Rows']) == ('Doe^Jane', '16') and 'PixelData' not in dicom
    assert origin['RequestOrigin'] == 'RestApi' and set(origin) == {'RequestOrigin', 'RemoteIp', 'Username'}
    assert info == {'HasPixelData': True, 'TransferSyntaxUID': '1.2.840.10008.1.2.1'}


@scripts
def test_a_script_chooses_the_status_of_c_store(server, tmp_path):
    printed(server, '''
        function ReceivedCStoreInstanceFilter(dicom, origin, info)
           assert(origin.RequestOrigin == 'DicomProtocol' and origin.RemoteAet == 'STORESCU' and origin.CalledAet == 'ORTHANC')
           if dicom.PatientID == 'FULL' then return 0xA700 end
           if dicom.PatientID == 'WRONG' then return true end
           return 0
        end''')

    def store(patient):
        [file] = files(tmp_path / patient, [instance(PatientID=patient)])
        return dcmtk('storescu', '-v', '-aec', 'ORTHANC', '127.0.0.1', server.dicom_port, file)

    for _ in server.nodes:
        refused = store('FULL')
        assert 'a700' in refused.stdout.lower() or 'OutOfResources' in refused.stdout, refused.stdout
        assert 'Success' not in store('WRONG').stdout.split('Received Store Response')[1]
    assert server.json('/instances') == []
    assert store('GOOD').returncode == 0
    assert len(server.json('/instances')) == 1
    assert server.post('/instances', dicom_bytes(instance(PatientID='FULL'))).json()['Status'] == 'Success', 'other doors are not asked'


@scripts
def test_requests_are_filtered(server):
    printed(server, '''
        function IncomingHttpRequestFilter(method, uri, ip, username, headers)
           if uri == '/changes' then error('as wanted') end
           if uri == '/exports' then return 'yes' end
           assert(type(RestApiGet('/statistics')) == 'string')
           return not (method == 'GET' and uri == '/statistics' and ip == '127.0.0.1' and username == '' and headers['x-test'] == 'a')
        end''')
    for client in all_processes(server):
        answer = client.get('/statistics?x=1', headers={'X-Test': 'a'})
        assert (answer.status_code, answer.content) == (403, b'')
        assert client.get('/statistics', headers={'X-Test': 'b'}).status_code == 200
        assert client.get('/nope').status_code == 404
        for path in ['/changes', '/exports']:
            answer = client.get(path)
            assert answer.status_code == 500 and answer.json()['OrthancStatus'] == 2031
        assert client.get('/readyz').status_code == 200


@scripts
def test_a_filter_that_calls_itself_ends(server):
    printed(server, '''
        function ReceivedInstanceFilter(dicom)
           return RestApiPost('/tools/execute-script', 'print(1)') ~= nil and
              (dicom.PatientID ~= 'AGAIN' or RestApiPost('/instances', again) ~= nil)
        end''')
    assert server.upload(dicom_bytes(instance()))['Status'] == 'Success'
    path = server.json('/instances')[0]
    printed(server, '''again = RestApiGet('/instances/%s/file'):gsub('P1', 'AGAIN')''' % path)
    answer = server.post('/instances', dicom_bytes(instance(PatientID='AGAIN')))
    assert answer.status_code == 200 and answer.json()['Status'] in ('FilteredOut', 'Success')


def test_what_is_not_called_is_a_warning_at_the_start(node, tmp_path):
    script = tmp_path / 'old.lua'
    script.write_text('function IncomingFindRequestFilter() end function IsUnknownSopClassAccepted() end')
    one = node({'LuaScripts': [str(script)]}).start()
    assert 'IncomingFindRequestFilter' in one.log and 'IsUnknownSopClassAccepted' in one.log
