"""Files in a bucket of S3: moto plays the server."""
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from client import Client
from dicom import dicom_bytes, instance

MOTO = Path(__file__).parents[1] / 'moto'
SIGNED = {'Authorization': 'AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0'}


class Bucket:
    """A bucket of its own, and what the server is told about it."""

    def __init__(self, address, name='scans'):
        self.url = '%s/%s' % (address, name)
        requests.put(self.url, headers=SIGNED).raise_for_status()
        self.config = {'AwsS3Storage': {
            'BucketName': name, 'Region': 'us-east-1', 'Endpoint': address, 'VirtualAddressing': False, 'AccessKey': 'key',
            'SecretKey': 'a-secret', 'RootPath': 'root', 'MaxRetries': 1, 'RequestTimeout': 5}}

    def keys(self):
        listing = requests.get(self.url, headers=SIGNED)
        listing.raise_for_status()
        return re.findall('<Key>(.*?)</Key>', listing.text)

    def remove(self, key):
        requests.delete('%s/%s' % (self.url, key), headers=SIGNED).raise_for_status()


@pytest.fixture
def moto():
    process = subprocess.Popen([sys.executable, MOTO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.address = process.stdout.readline().strip()
    assert process.address.startswith('http://'), 'moto is installed'
    yield process
    process.stdin.close()
    process.wait(20)


@pytest.fixture
def bucket(moto):
    return Bucket(moto.address)


def test_files_come_back_from_a_bucket(node, bucket):
    one = node(bucket.config).start()
    server = Client(one.url, one.dicom_port)
    small, large = dicom_bytes(instance()), dicom_bytes(instance(size=2500))
    for body in [small, large]:
        stored = server.upload(body)
        assert server.get('/instances/%s/file' % stored['ID']).content == body
        part = server.get('/instances/%s/file' % stored['ID'], headers={'Range': 'bytes=200-399'})
        assert part.status_code == 206 and part.content == body[200:400]
        assert server.json('/instances/%s/simplified-tags' % stored['ID'])['PatientID']
    keys = bucket.keys()
    assert len(keys) == 2 and all(re.fullmatch('root/[0-9a-f-]{36}', key) for key in keys)
    assert not one.blobs(), 'nothing is in the folder'
    one.kill()
    one.start()
    assert server.get('/instances/%s/file' % stored['ID']).content == large
    # An object outlives its row by a minute, for those who are reading it.
    assert server.delete('/instances/%s' % stored['ID']).status_code == 200
    assert server.get('/instances/%s/file' % stored['ID']).status_code == 404
    assert len(bucket.keys()) == 2


def test_a_lost_object_is_a_clear_error(node, bucket):
    one = node(bucket.config).start()
    server = Client(one.url, one.dicom_port)
    stored = server.upload(dicom_bytes(instance()))
    [key] = bucket.keys()
    bucket.remove(key)
    answer = server.get('/instances/%s/file' % stored['ID'])
    assert answer.status_code >= 400 and key.split('/')[1] in answer.json()['Details']
    assert server.json('/instances') == [stored['ID']]


def test_a_bucket_that_is_away_is_a_503_and_comes_back(node, bucket, moto):
    one = node(bucket.config).start()
    server = Client(one.url, one.dicom_port)
    stored = server.upload(dicom_bytes(instance()))
    moto.stdin.close()
    moto.wait(20)
    for answer in [server.get('/instances/%s/file' % stored['ID']), server.post('/instances', dicom_bytes(instance()))]:
        assert answer.status_code == 503 and answer.headers['Retry-After'], answer.text
        assert 's3://scans/root/' in answer.json()['Details']
    assert server.json('/instances') == [stored['ID']], 'nothing half-stored'


@pytest.mark.parametrize('change, word', [
    ({'BucketName': 'no-such-bucket'}, 'no-such-bucket'),
    ({'Endpoint': 'http://127.0.0.1:1'}, 'refused'),
    ({'VirtualAddressing': True}, 'VirtualAddressing'),
    ({'SecretKey': ''}, 'AccessKey'),
    ({'BucketName': ''}, 'BucketName'),
    ({'StorageEncryption': {'MasterKey': [1, 'key']}}, 'StorageEncryption'),
    ({'HttpsCACertificates': 'not-there.pem'}, 'not-there.pem'),
])
def test_what_keeps_it_from_starting_is_named(node, bucket, change, word):
    one = node({'AwsS3Storage': {**bucket.config['AwsS3Storage'], **change}})
    one.spawn()
    assert one.process.wait(30) != 0
    assert word in one.log and 'a-secret' not in one.log
