"""Modalities that are written through one process are used by the very next request, whoever serves it."""
from concurrent.futures import ThreadPoolExecutor

import pytest
from client import Client
from conftest import client_of


@pytest.fixture
def three(cluster):
    return client_of(cluster().start())


def direct(node):
    return Client(node.url, node.dicom_port, node.aet)


def put(client, name, modality):
    answer = client.request('PUT', '/modalities/' + name, json=modality)
    assert answer.status_code == 200, answer.text


def test_a_modality_is_used_by_the_very_next_request_elsewhere(three, receiver):
    here = receiver()
    for n in range(10):
        writer, reader = direct(three.nodes[n % 3]), direct(three.nodes[(n + 1) % 3])
        put(writer, 'fresh', {'AET': 'NOBODY', 'Host': '127.0.0.1', 'Port': 1})
        assert 'fresh' in reader.json('/modalities')
        assert reader.post('/modalities/fresh/echo', '{"Timeout": 2}').status_code == 500
        put(writer, 'fresh', here.modality)
        assert reader.json('/modalities/fresh/configuration')['Port'] == here.port
        assert reader.post('/modalities/fresh/echo', '{"Timeout": 5}').status_code == 200
        assert writer.delete('/modalities/fresh').status_code == 200
        assert reader.get('/modalities/fresh').status_code == 404 and 'fresh' not in reader.json('/modalities')


def test_sixty_puts_at_once_all_survive(three):
    names = ['m%d' % n for n in range(60)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda n: put(Client(three.url, three.dicom_port), n, {'AET': n.upper(), 'Host': 'h', 'Port': 104}), names))
    for node in three.nodes:
        assert sorted(direct(node).json('/modalities')) == sorted(names)


def test_the_configuration_file_does_not_bring_back_what_was_deleted(cluster):
    made_of = cluster({'DicomModalities': {'sample': ['SAMPLE', '127.0.0.1', 104]}})
    client = client_of(made_of.start())
    assert client.json('/modalities') == ['sample']
    assert client.delete('/modalities/sample').status_code == 200
    made_of.nodes[1].kill()
    made_of.nodes[1].start()
    assert [direct(node).json('/modalities') for node in made_of.nodes] == [[], [], []]
