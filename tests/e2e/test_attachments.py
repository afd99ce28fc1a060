"""Attachments of clients."""
import hashlib

import pytest
from dicom import dicom_bytes, instance


def etag(revision, content):
    return '"%d-%s"' % (revision, hashlib.md5(content).hexdigest())


@pytest.mark.config(CheckRevisions=True)
def test_versions_of_an_attachment(server):
    one = server.upload(dicom_bytes(instance()))['Path'] + '/attachments/1024'
    put = server.request('PUT', one, data=b'hello')
    assert (put.status_code, put.headers['ETag']) == (200, etag(0, b'hello'))

    def get(condition):
        answer = server.get(one + '/data', headers={'If-None-Match': condition})
        assert answer.headers['ETag'] == etag(0, b'hello'), 'whatever is answered'
        return answer.status_code

    assert get(etag(0, b'hello')) == 304
    assert get(etag(1, b'hello')) == get('"0-tata"') == 200
    assert get('tata') == 400

    def change(method, condition=None):
        headers = {'If-Match': condition} if condition else {}
        return server.request(method, one, data=b'other', headers=headers).status_code

    for method in ['PUT', 'DELETE']:
        assert change(method) == change(method, etag(7, b'hello')) == change(method, '"0-tata"') == 409
        assert change(method, 'tata') == 400
    assert server.get(one + '/data').content == b'hello'
    assert change('PUT', etag(0, b'hello')) == 200
    assert change('DELETE', etag(1, b'other')) == 200
    assert server.get(one + '/data').status_code == 404


@pytest.mark.config(CheckRevisions=True)
def test_a_bad_condition_names_the_version_of_metadata(server):
    path = server.upload(dicom_bytes(instance()))['Path'] + '/metadata/1030'
    server.request('PUT', path, data=b'v')
    answer = server.get(path, headers={'If-None-Match': 'tata'})
    assert (answer.status_code, answer.headers['ETag']) == (400, etag(0, b'v'))
