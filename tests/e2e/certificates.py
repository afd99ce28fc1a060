"""Authorities and certificates, made by openssl."""
import subprocess

from processes import find_program

KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']


def openssl(*arguments):
    subprocess.run([find_program('openssl'), *map(str, arguments)], check=True, capture_output=True)


def authority(folder, name):
    openssl('req', '-x509', *KEY, '-nodes', '-days', '2', '-subj', '/CN=' + name, '-keyout', folder / (name + '.key'), '-out',
            folder / (name + '.pem'))


def certificate(folder, name, host, ca='ca'):
    """A certificate of the authority `ca` for a host."""
    (folder / 'ext').write_text('subjectAltName=DNS:%s\n' % host)
    openssl('req', *KEY, '-nodes', '-subj', '/CN=' + name, '-keyout', folder / (name + '.key'), '-out', folder / (name + '.csr'))
    openssl('x509', '-req', '-in', folder / (name + '.csr'), '-CA', folder / (ca + '.pem'), '-CAkey', folder / (ca + '.key'), '-days', '2',
            '-extfile', folder / 'ext', '-out', folder / (name + '.pem'))
