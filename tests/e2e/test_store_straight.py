"""`POST /modalities/{id}/store-straight`: a file goes to a DICOM node without being stored."""
import socket
import threading

import pytest
from dicom import dicom_bytes, instance
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage
from receiver import Receiver


def put(server, name, modality):
    assert server.request('PUT', '/modalities/' + name, json=modality).status_code == 200


def straight(server, name, body, **arguments):
    return server.post('/modalities/%s/store-straight' % name, body, **arguments)


class Keeper(Receiver):
    """Keeps the data sets as they came."""

    def store(self, event):
        with self.lock:
            self.__dict__.setdefault('kept', []).append((event.context.transfer_syntax, event.request.DataSet.getvalue()))
        return super().store(event)


@pytest.fixture
def keeper():
    made = Keeper()
    yield made
    made.end()


def test_a_file_is_sent_and_not_stored(server, keeper):
    put(server, 'node', {**keeper.modality, 'LocalAet': 'ME'})
    for ds in (instance(), instance(syntax=ImplicitVRLittleEndian), instance(size=2500)):
        file = dicom_bytes(ds)
        answer = straight(server, 'node', file)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {'SOPClassUID': ds.SOPClassUID, 'SOPInstanceUID': ds.SOPInstanceUID}
        syntax, data = keeper.kept.pop()
        assert syntax == ds.file_meta.TransferSyntaxUID and file.endswith(data)
        assert len(file) - len(data) == 144 + int.from_bytes(file[140:144], 'little')
        assert keeper.arrivals.pop()[1:] == (ds.SOPInstanceUID, 'ME')
    assert server.json('/instances') == [] and server.json('/jobs') == []


def chunks(*pieces):
    """A body without a length."""
    yield from pieces


def test_a_body_that_arrives_in_pieces(server, keeper):
    put(server, 'node', keeper.modality)
    ds = instance(size=64)
    file = dicom_bytes(ds)
    answer = straight(server, 'node', chunks(file[:1], file[1:300], file[300:5000], file[5000:]))
    assert answer.status_code == 200 and file.endswith(keeper.kept.pop()[1])


def test_what_is_no_file_is_refused_before_anybody_is_called(server, keeper):
    put(server, 'node', keeper.modality)
    without = instance()
    del without.SOPInstanceUID
    without.file_meta.MediaStorageSOPInstanceUID = '1.2.3'
    for body, word in [(b'', 'empty'), (b'nope', ''), (b'\0' * 100_000, ''), (dicom_bytes(instance())[:400], ''),
                       (dicom_bytes(without), 'SOPInstanceUID')]:
        answer = straight(server, 'node', body)
        error = answer.json()
        assert answer.status_code == 400 and error['OrthancStatus'] == 15 and error['Details'] and word in error['Details'], error
    assert keeper.arrivals == []
    answer = straight(server, 'nobody', b'nope')
    assert answer.status_code == 404 and answer.json()['OrthancStatus'] == 7 and 'nobody' in answer.json()['Details']
    assert server.get('/modalities/node/store-straight').status_code == 405


def test_nodes_that_do_not_take_it(server, receiver):
    file = dicom_bytes(instance())
    with socket.socket() as closed, socket.socket() as silent:
        closed.bind(('127.0.0.1', 0))
        silent.bind(('127.0.0.1', 0))
        silent.listen()
        put(server, 'closed', ['X', '127.0.0.1', closed.getsockname()[1]])
        put(server, 'silent', {'AET': 'X', 'Host': '127.0.0.1', 'Port': silent.getsockname()[1], 'Timeout': 1})
        for name, word in [('closed', 'refused'), ('silent', 'in time')]:
            error = straight(server, name, file).json()
            assert (error['HttpStatus'], error['OrthancStatus']) == (500, 9), error
            assert '"X"' in error['Details'] and word in error['Details'], error
    put(server, 'tls', {'AET': 'X', 'Host': '127.0.0.1', 'Port': 104, 'UseDicomTls': True})
    assert straight(server, 'tls', file).status_code == 501

    put(server, 'full', receiver(status=0xA700).modality)
    error = straight(server, 'full', file).json()
    assert (error['HttpStatus'], error['OrthancStatus']) == (500, 9) and '0xA700' in error['Details']
    assert error['ErrorPayload'] == {'Type': 'Dimse', 'Content': {'DimseErrorStatus': 0xA700}}
    for accepted in (0xB000, 0x0111):
        put(server, 'warns', receiver(status=accepted).modality)
        assert straight(server, 'warns', file).status_code == 200


def test_a_node_that_wants_another_transfer_syntax(server):
    ae = AE('PICKY')
    ae.add_supported_context(CTImageStorage, JPEGBaseline8Bit)
    scp = ae.start_server(('127.0.0.1', 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)])
    put(server, 'picky', ['PICKY', '127.0.0.1', scp.server_address[1]])
    error = straight(server, 'picky', dicom_bytes(instance())).json()
    assert error['OrthancStatus'] == 2015 and CTImageStorage in error['Details'] and '"PICKY"' in error['Details']
    scp.shutdown()


def test_a_client_that_vanishes_breaks_the_association(server):
    ended = threading.Event()
    ae = AE('NODE')
    ae.add_supported_context(CTImageStorage)
    scp = ae.start_server(('127.0.0.1', 0), block=False, evt_handlers=[
        (evt.EVT_C_STORE, lambda _: 0), (evt.EVT_ABORTED, lambda _: ended.set()), (evt.EVT_CONN_CLOSE, lambda _: ended.set())])
    put(server, 'node', ['NODE', '127.0.0.1', scp.server_address[1]])
    file = dicom_bytes(instance(size=2500))
    address = server.url.split('//')[1].split(':')
    client = socket.create_connection((address[0], int(address[1])))
    head = 'POST /modalities/node/store-straight HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n' % len(file)
    client.sendall(head.encode() + file[:1_000_000])
    client.close()
    assert ended.wait(20), 'the association goes on without the client'
    scp.shutdown()
