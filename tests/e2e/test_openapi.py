"""Requests to every route, generated from the description that the server gives of itself: sensible ones, and ones that break each rule of it."""
import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from client import Client
from dicom import dicom_bytes, instance
from node import PLEIAD

# They end the process, or begin it anew.
LEFT_OUT = ['/tools/shutdown', '/tools/reset']
CHECKS = ['no_mistake_of_the_server', 'status_code_conformance', 'content_type_conformance', 'negative_data_rejection', 'unsupported_method',
          'allow_header_conformance', 'missing_required_header']
# Generated requests to each route, beside those that the rules of its description call for.
EXAMPLES = 5


def known(server):
    """One of everything that paths can name."""
    body = dicom_bytes(instance())
    stored = server.upload(body)
    assert server.request('PUT', '/modalities/node', json={'AET': 'X', 'Host': '127.0.0.1', 'Port': 9}).ok
    assert server.request('PUT', '/peers/peer', json={'Url': 'http://127.0.0.1:9/'}).ok
    job = server.post('/studies/%s/archive' % stored['ParentStudy'], None, json={'Asynchronous': True}).json()['ID']
    return body, {'patients': [stored['ParentPatient']], 'studies': [stored['ParentStudy']], 'series': [stored['ParentSeries']], 'instances': [stored['ID']],
                  'jobs': [job], 'modalities': ['node'], 'peers': ['peer'], 'url': server.url, 'file': base64.b64encode(body).decode()}


def test_generated_requests(node, database, tmp_path):
    one = node({'PostgreSQL': database.options, 'ExecuteLuaEnabled': True}).start()
    server = Client(one.url, one.dicom_port)
    body, names = known(server)
    (tmp_path / 'known.json').write_text(json.dumps(names))
    subprocess.run([PLEIAD, '--openapi=%s' % (tmp_path / 'api.json')], check=True, timeout=60)
    operations = sum(len(methods) for methods in json.loads((tmp_path / 'api.json').read_text())['paths'].values())
    command = [sys.executable, '-m', 'schemathesis.cli', 'run', tmp_path / 'api.json', '--url', one.url, '--checks', ','.join(CHECKS), '--phases', 'coverage,fuzzing',
               '--max-examples', EXAMPLES, '--seed', 1, '--continue-on-failure', '--no-color', '--warnings', 'off']
    for path in LEFT_OUT:
        command += ['--exclude-path', path]
    hooks = {'SCHEMATHESIS_HOOKS': 'openapi_hooks', 'PYTHONPATH': str(Path(__file__).parent), 'OPENAPI_KNOWN': str(tmp_path / 'known.json')}
    done = subprocess.run([str(part) for part in command], env={**os.environ, **hooks}, cwd=tmp_path, timeout=400,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-20_000:]
    tested = int(re.search(r'Tested: (\d+)', done.stdout).group(1))
    assert tested == operations - len(LEFT_OUT), done.stdout[-2000:]
    assert one.process.poll() is None and 'panic' not in one.log
    assert server.get('/instances/%s/file' % names['instances'][0]).content == body
