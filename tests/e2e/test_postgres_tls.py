"""TLS to PostgreSQL, and what of the server's certificate is checked."""
import os
import shutil

import pytest
from certificates import authority, certificate
from client import Client
from dicom import dicom_bytes, instance
from jobs import create, success
from postgres import FAST, Postgres

ONLY_ENCRYPTED = 'local all all trust\nhostssl all all 127.0.0.1/32 trust\n'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('certificates')
    authority(folder, 'ca')
    authority(folder, 'other')
    certificate(folder, 'server', 'localhost')
    certificate(folder, 'pleiad', 'client')
    return folder


@pytest.fixture(scope='module')
def encrypted(folder):
    """A PostgreSQL that takes no connection in clear text."""
    server = Postgres(**FAST)
    server.initialise()
    names = {'ssl_cert_file': 'server.pem', 'ssl_key_file': 'server.key', 'ssl_ca_file': 'ca.pem'}
    for name in names.values():
        shutil.copy(folder / name, server.folder / name)
        os.chmod(server.folder / name, 0o600)
        if os.getuid() == 0:
            shutil.chown(server.folder / name, 'postgres', 'postgres')
    (server.data / 'pg_hba.conf').write_text(ONLY_ENCRYPTED)
    server.settings.update(ssl='on', **{option: server.folder / name for option, name in names.items()})
    server.start()
    yield server
    server.end()


def uri(server, host='localhost', **options):
    options = '&'.join('%s=%s' % item for item in options.items())
    return {'EnableIndex': True, 'ConnectionUri': 'postgresql://pleiad@%s:%d/postgres?%s' % (host, server.port, options)}


def assert_works(node, server, section):
    one = node({'PostgreSQL': section}).start()
    client = Client(one.url, one.dicom_port)
    success(client, create(client, '/studies/%s/archive' % client.upload(dicom_bytes(instance()))['ParentStudy']))
    seen = server.sql("SELECT count(*), bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)"
                      " WHERE a.application_name = 'pleiad'")
    count, all_encrypted = seen.split('|')
    assert int(count) >= 3 and all_encrypted == 't', seen


def assert_refused(node, section, words):
    one = node({'PostgreSQL': {**section, 'MaximumConnectionRetries': 0}})
    assert one.spawn().wait(30) == 255
    assert words in one.log, one.log


def test_enable_ssl_encrypts_and_asks_for_no_authority(node, encrypted):
    assert_works(node, encrypted, {**encrypted.options('postgres'), 'EnableSsl': True})


def test_without_it_nothing_is_encrypted(node, encrypted):
    assert_refused(node, encrypted.options('postgres'), 'no encryption')


@pytest.mark.parametrize('host, options', [
    ('127.0.0.1', {}),
    ('127.0.0.1', {'sslmode': 'require'}),
    ('127.0.0.1', {'sslmode': 'verify-ca', 'sslrootcert': 'ca'}),
    ('localhost', {'sslmode': 'verify-full', 'sslrootcert': 'ca'}),
    ('localhost', {'sslmode': 'verify-full', 'sslrootcert': 'ca', 'sslcert': 'pleiad', 'sslkey': 'pleiad'}),
])
def test_what_can_be_trusted_is_used(node, encrypted, folder, host, options):
    assert_works(node, encrypted, uri(encrypted, host, **paths(folder, options)))


@pytest.mark.parametrize('host, options, words', [
    ('127.0.0.1', {'sslmode': 'disable'}, 'no encryption'),
    ('127.0.0.1', {'sslmode': 'verify-full', 'sslrootcert': 'ca'}, 'certificate'),
    ('localhost', {'sslmode': 'verify-full', 'sslrootcert': 'other'}, 'certificate'),
    ('localhost', {'sslmode': 'verify-ca', 'sslrootcert': 'other'}, 'certificate'),
    ('localhost', {'sslmode': 'require', 'sslrootcert': 'other'}, 'certificate'),
    ('localhost', {'sslmode': 'verify-full'}, 'certificate'),
    ('localhost', {'sslmode': 'verify-full', 'sslrootcert': 'missing'}, 'missing.pem'),
    ('localhost', {'sslmode': 'always'}, 'sslmode'),
])
def test_what_cannot_be_trusted_is_refused(node, encrypted, folder, host, options, words):
    assert_refused(node, uri(encrypted, host, **paths(folder, options)), words)


def test_a_server_without_tls_is_refused_where_it_is_wanted(node, postgres, database):
    assert_refused(node, {**database.options, 'EnableSsl': True}, 'does not support TLS')


def paths(folder, options):
    ends = {'sslrootcert': '.pem', 'sslcert': '.pem', 'sslkey': '.key'}
    return {name: folder / (value + ends[name]) if name in ends else value for name, value in options.items()}
