"""Options that no other test tries, by what they do."""
import socket
import time

import pytest
import requests
from client import Client
from dicom import dicom_bytes, instance
from jobs import wait_for
from pydicom.uid import CTImageStorage, MRImageStorage
from pynetdicom import AE
from pynetdicom.sop_class import Verification
from test_life import refused

SYNTAXES = {
    'DeflatedTransferSyntaxAccepted': '1.2.840.10008.1.2.1.99', 'JpegTransferSyntaxAccepted': '1.2.840.10008.1.2.4.50', 'Jpeg2000TransferSyntaxAccepted': '1.2.840.10008.1.2.4.90',
    'JpegLosslessTransferSyntaxAccepted': '1.2.840.10008.1.2.4.80', 'JpipTransferSyntaxAccepted': '1.2.840.10008.1.2.4.94', 'Mpeg2TransferSyntaxAccepted': '1.2.840.10008.1.2.4.100',
    'Mpeg4TransferSyntaxAccepted': '1.2.840.10008.1.2.4.102', 'H265TransferSyntaxAccepted': '1.2.840.10008.1.2.4.107', 'RleTransferSyntaxAccepted': '1.2.840.10008.1.2.5'}


def associate(node, contexts, called='ORTHANC', calling='PEER'):
    """The contexts are pairs of an abstract and a transfer syntax. None if the association is refused."""
    ae = AE(calling)
    for abstract, syntax in contexts:
        ae.add_requested_context(abstract, syntax)
    association = ae.associate('127.0.0.1', node.dicom_port, ae_title=called)
    if not association.is_established:
        association.abort()
        return None
    return association


def accepted(node, contexts):
    """Which of the contexts the server accepts."""
    association = associate(node, contexts)
    found = {(context.abstract_syntax, context.transfer_syntax[0]) for context in association.accepted_contexts}
    association.release()
    return found


@pytest.mark.parametrize('first', [0, 1])
def test_groups_of_transfer_syntaxes_are_switched_off(node, first):
    options = list(SYNTAXES)
    off = options[first::2]
    one = node({option: False for option in off}).start()
    contexts = [(CTImageStorage, syntax) for syntax in SYNTAXES.values()]
    assert accepted(one, contexts) == {(CTImageStorage, syntax) for option, syntax in SYNTAXES.items() if option not in off}
    listed = Client(one.url, one.dicom_port).json('/tools/accepted-transfer-syntaxes')
    assert {option for option in options if SYNTAXES[option] not in listed} == set(off)


@pytest.mark.parametrize('config, takes', [
    ({}, {CTImageStorage, MRImageStorage}), ({'AcceptedSopClasses': [MRImageStorage]}, {MRImageStorage}), ({'RejectedSopClasses': [MRImageStorage]}, {CTImageStorage}),
    ({'RejectSopClasses': [CTImageStorage]}, {MRImageStorage})], ids=['all', 'accepted', 'rejected', 'misspelt'])
def test_sop_classes_are_chosen(node, config, takes):
    one = node(config).start()
    found = {abstract for abstract, _ in accepted(one, [(c, '1.2.840.10008.1.2.1') for c in (CTImageStorage, MRImageStorage, Verification)])}
    assert found == takes | {Verification}
    listed = Client(one.url, one.dicom_port).json('/tools/accepted-sop-classes')
    assert {c for c in (CTImageStorage, MRImageStorage) if c in listed} == takes


def test_the_called_title_is_checked(node):
    echo = [(Verification, '1.2.840.10008.1.2')]
    for config, titles in [({}, {'ORTHANC', 'orthanc', 'OTHER'}), ({'DicomCheckCalledAet': True}, {'ORTHANC', 'orthanc'}),
                           ({'DicomCheckCalledAet': True, 'StrictAetComparison': True}, {'ORTHANC'})]:
        one = node(config).start()
        for title in ['ORTHANC', 'orthanc', 'OTHER']:
            association = associate(one, echo, called=title)
            assert (association is not None) == (title in titles), (config, title)
            if association:
                association.release()


def test_the_host_of_a_modality_is_checked(node):
    for check in [False, True]:
        one = node({'DicomAlwaysAllowStore': False, 'DicomCheckModalityHost': check,
                    'DicomModalities': {'here': ['HERE', '127.0.0.1', 104], 'elsewhere': ['ELSEWHERE', '192.0.2.1', 104]}}).start()
        for calling, allowed in [('HERE', True), ('ELSEWHERE', not check), ('NOBODY', False)]:
            association = associate(one, [(CTImageStorage, '1.2.840.10008.1.2.1')], calling=calling)
            stored = association is not None and association.accepted_contexts and association.send_c_store(instance()).get('Status') == 0
            assert bool(stored) == allowed, (check, calling)
            if association:
                association.release()


def test_an_association_that_says_nothing_is_left(node):
    one = node({'DicomScpTimeout': 1}).start()
    begin = time.monotonic()
    association = associate(one, [(Verification, '1.2.840.10008.1.2')])
    assert association.send_c_echo().Status == 0
    wait_for(lambda: not association.is_established, 20)
    assert time.monotonic() - begin > 0.9
    with socket.create_connection(('127.0.0.1', one.dicom_port), 20) as silent:
        assert silent.recv(1) == b''


def test_errors_without_a_description(node):
    one = node({'HttpDescribeErrors': False}).start()
    answer = requests.get(one.url + '/studies/nope', timeout=20)
    assert answer.status_code in (400, 404) and answer.content == b''
    assert requests.post(one.url + '/instances', b'nope', timeout=20).content == b''


def test_options_of_postgresql(node, database):
    options = {**database.options, 'Schema': 'of_its_own', 'ApplicationName': 'archive-7'}
    database.sql('CREATE SCHEMA of_its_own')
    one = node({'PostgreSQL': options}).start()
    stored = Client(one.url, one.dicom_port).upload(dicom_bytes(instance()))
    assert stored['Status'] == 'Success'
    tables = 'SELECT count(*) FROM information_schema.tables WHERE table_schema = '
    assert int(database.sql(tables + "'of_its_own'")) > 10 and int(database.sql(tables + "'public'")) == 0
    assert int(database.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'archive-7'")) > 0
    assert 'EnableStorage' in refused(node, {'PostgreSQL': {**database.options, 'EnableStorage': True}})
