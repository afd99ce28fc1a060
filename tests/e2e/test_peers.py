"""pynetdicom and DCMTK as peers, over every transfer syntax of pydicom's test data. What was sent comes back unchanged."""
import warnings
from collections import Counter
from pathlib import Path

import pydicom.data
import pytest
from dicom import storescu
from pydicom import dcmread
from pynetdicom import AE, _config, build_context
from pynetdicom.sop_class import Verification

# Send files as they are, without reading and writing their data sets.
_config.STORE_SEND_CHUNKED_DATASET = True

ROOT = Path(pydicom.data.__file__).parent / 'test_files'


def storable():
    """Installed test files that name what a C-STORE needs, with their headers."""
    found = {}
    for path in sorted(ROOT.rglob('*')):
        if not path.is_file() or path.suffix in {'.py', '.json', '.zip', '.gz', '.txt', '.md'}:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                ds = dcmread(path, stop_before_pixels=True)
                header = (str(ds.SOPClassUID), str(ds.SOPInstanceUID), str(ds.file_meta.TransferSyntaxUID))
                consistent = ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID and ds.StudyInstanceUID and ds.SeriesInstanceUID
        except Exception:  # noqa: BLE001 not DICOM, or not storable: the oracle of the data set room reads those
            continue
        if all(header) and consistent and '1.4.1.1.' in header[0] and path.name != 'rtplan_truncated.dcm':
            found[path] = header
    return found


def data_set(path):
    """The bytes of a DICOM file after its meta header."""
    body = path.read_bytes()
    assert body[128:132] == b'DICM'
    return body[132 + 12 + int.from_bytes(body[140:144], 'little'):]


def test_pynetdicom_echo(server):
    association = AE('PEER').associate('127.0.0.1', server.dicom_port, [build_context(Verification)], ae_title=server.aet)
    assert association.is_established
    assert association.send_c_echo().Status == 0
    association.release()


def test_every_transfer_syntax_comes_back_unchanged(server, tmp_path):
    files = storable()
    syntaxes = Counter(header[2] for header in files.values())
    assert len(files) > 30 and len(syntaxes) > 8, syntaxes
    failed = []
    for path, (sop_class, uid, syntax) in files.items():
        ae = AE('PEER')
        ae.add_requested_context(sop_class, syntax)
        association = ae.associate('127.0.0.1', server.dicom_port, ae_title=server.aet)
        if not association.is_established or not association.accepted_contexts:
            failed.append((path.name, syntax, 'not accepted'))
            continue
        status = association.send_c_store(path)
        association.release()
        if status.get('Status') != 0:
            failed.append((path.name, syntax, hex(status.get('Status', -1))))
            continue
        ids = server.post('/tools/lookup', uid).json()
        [instance] = [i['ID'] for i in ids if i['Type'] == 'Instance']
        received = tmp_path / 'received.dcm'
        received.write_bytes(server.get('/instances/%s/file' % instance).content)
        meta = dcmread(received, stop_before_pixels=True).file_meta
        if str(meta.TransferSyntaxUID) != syntax or data_set(received) != data_set(path):
            failed.append((path.name, syntax, 'differs'))
        server.delete('/instances/' + instance)  # some files share identifiers
    assert failed == []


def test_every_file_is_kept_as_it_was_posted(server):
    for path in storable():
        body = path.read_bytes()
        stored = server.upload(body)
        assert stored['Status'] == 'Success', path
        assert server.get('/instances/%s/file' % stored['ID']).content == body, path
        server.delete('/instances/' + stored['ID'])


@pytest.mark.parametrize('option, syntaxes', [
    ('-xe', ['1.2.840.10008.1.2.1']), ('-xi', ['1.2.840.10008.1.2']), ('-xd', ['1.2.840.10008.1.2.1.99']),
    # Both uncompressed syntaxes are proposed in one context: the choice is the server's.
    ('-xb', ['1.2.840.10008.1.2.2', '1.2.840.10008.1.2.1']),
])
def test_storescu_proposals(server, tmp_path, option, syntaxes):
    source = ROOT / 'CT_small.dcm'
    done = storescu(server, [source], option)
    assert done.returncode == 0, done.stdout
    [one] = server.json('/instances')
    assert server.get('/instances/%s/metadata/TransferSyntax' % one).text in syntaxes
    path = tmp_path / 'received.dcm'
    path.write_bytes(server.get('/instances/%s/file' % one).content)
    received = dcmread(path)
    assert received.file_meta.TransferSyntaxUID in syntaxes and received.PatientName == dcmread(source).PatientName
    if received.file_meta.TransferSyntaxUID != '1.2.840.10008.1.2.2':
        assert received.PixelData == dcmread(source).PixelData
