#!/usr/bin/env python3
"""Asks Orthanc and Pleiad the same and compares the answers.

    compare.py --reference 'COMMAND {config}' [--report FILE] [CASE ...]

The command starts an Orthanc with a configuration file; PLEIAD is the other server (default: target/debug/pleiad). Both get the same
configuration, instances and requests. What cannot be equal is made so first: see `normal`. A difference that `expected.py` explains is
counted; one that it does not explain, and an explanation without a difference, make this fail.
"""
import argparse
import collections
import io
import json
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'e2e'))
from client import Client  # noqa: E402
from node import PLEIAD  # noqa: E402
from processes import bound, free_port, read_log  # noqa: E402
import expected  # noqa: E402
import cases_jobs  # noqa: E402
import cases_life  # noqa: E402
import cases_resources  # noqa: E402

CASES = cases_jobs.CASES + cases_life.CASES + cases_resources.CASES
HEADERS = ['Content-Type', 'Content-Disposition', 'Content-Range', 'Allow', 'ETag', 'Location']
# Values that tell one run from another, or whose text is not promised.
HIDDEN = {'ErrorDetails', 'EffectiveRuntime', 'ArchiveSize', 'Path', 'Uri', 'Timestamp'}


def without_order(value):
    """Ids, names and records in one order, because none is promised."""
    if isinstance(value, dict):
        return {k: without_order(v) for k, v in value.items()}
    if not isinstance(value, list):
        return value
    if all(isinstance(v, str) for v in value):
        return sorted(value)
    value = [without_order(v) for v in value]
    if all(isinstance(v, dict) and 'ID' in v and 'Seq' not in v for v in value):
        return sorted(value, key=lambda v: v['ID'])
    return value


def without_run(text):
    """A text without random identifiers and times."""
    text = re.sub(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', '(uuid)', text)
    return re.sub(r'\d{8}T\d{6}(\.\d{1,6})?', '(time)', text)


def normal(value):
    """JSON without what differs between two runs of one server."""
    if isinstance(value, dict):
        return {k: '...' if k in HIDDEN else normal(v) for k, v in sorted(value.items()) if not (k == 'Details' and 'HttpStatus' in value)}
    if isinstance(value, list):
        return [normal(v) for v in value]
    if isinstance(value, str):
        if value.startswith('{'):
            try:
                return normal(json.loads(value))
            except ValueError:
                pass
        return without_run(value)
    return value


def body(answer):
    """What is compared of a body: JSON, the names in a ZIP, or text."""
    content = answer.content
    if content[:2] == b'PK':
        return {'zip': sorted(re.sub(r'.*/', '', n) for n in zipfile.ZipFile(io.BytesIO(content)).namelist())}
    try:
        return normal(json.loads(content))
    except ValueError:
        return normal(content.decode('latin-1'))


class Asker(Client):
    """Orthanc ends connections without a word, so none is used twice."""

    def request(self, method, path, **arguments):
        self.session.close()
        return super().request(method, path, **arguments)


class Server:
    """One of the two, and what it answered so far."""

    def __init__(self, command, folder, options):
        folder.mkdir(parents=True)
        self.ports = free_port(), free_port()
        config = {
            'StorageDirectory': str(folder / 'storage'), 'IndexDirectory': str(folder / 'storage'), 'Name': 'diff',
            'HttpPort': self.ports[0], 'DicomPort': self.ports[1], 'RemoteAccessAllowed': False, 'AuthenticationEnabled': False,
            'Plugins': [], 'StableAge': 3600, 'DicomScuTimeout': 10, **options,
        }
        path = folder / 'config.json'
        path.write_text(json.dumps(config))
        self.log = folder / 'log'
        self.words = [str(path) if word == '{config}' else word for word in shlex.split(command)]
        self.client = Asker('http://127.0.0.1:%d' % self.ports[0], self.ports[1])
        self.answers = []
        self.start()

    def start(self, *arguments):
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                bound([*self.words, *arguments]), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.wait()

    def restart(self, *arguments):
        self.end()
        self.start(*arguments)

    def wait(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if self.client.get('/system').status_code == 200:
                    return
            except OSError:
                time.sleep(0.1)
        sys.exit('%s does not answer:\n%s' % (self.process.args, read_log(self.log)[-2000:]))

    def note(self, label, value):
        """Keeps something that must be equal."""
        self.answers.append((label, value))

    def ask(self, method, path, data=None, label=None, headers=None, ordered=False):
        """A request whose answer must be equal, the order of its resources only if that is promised. Returns it as it is."""
        data = json.dumps(data) if isinstance(data, (dict, list)) else data
        try:
            answer = self.client.request(method, path, data=data, headers=headers, allow_redirects=False)
        except OSError as error:
            self.note(label or '%s %s' % (method, normal(path)), 'no answer: %s' % type(error).__name__)
            return None
        content = body(answer)
        # JSON is UTF-8, whether the header says so or not.
        headers = {h: normal(answer.headers[h]).replace('application/json; charset=utf-8', 'application/json') for h in HEADERS if h in answer.headers}
        if 'Allow' in headers:
            # Pleiad answers HEAD wherever it answers GET.
            headers['Allow'] = sorted(set(headers['Allow'].split(',')) - {'HEAD'})
        self.note(label or '%s %s %s' % (method, without_run(path), '' if data is None else without_run(str(data))[:80]),
                  {'status': answer.status_code, 'headers': headers, 'body': content if ordered else without_order(content)})
        return answer

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def run(case, commands, folder):
    """The answers of both servers to a case."""
    answers = []
    for name, command in zip(['orthanc', 'pleiad'], commands):
        with case.around() as around:
            server = Server(command, folder / case.name / name, {**case.options, **around.options})
            try:
                case.ask(server, around)
                answers.append(server.answers)
            finally:
                server.end()
    return answers


def differences(case, answers):
    """Pairs that are not equal: the label, and both."""
    orthanc, pleiad = answers
    if [label for label, _ in orthanc] != [label for label, _ in pleiad]:
        yield 'the questions themselves', [label for label, _ in orthanc], [label for label, _ in pleiad]
        return
    for (label, a), (_, b) in zip(orthanc, pleiad):
        if a != b and not expected.is_more(a, b):
            yield label, a, b


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--reference', required=True)
    parser.add_argument('--report', type=Path)
    parser.add_argument('cases', nargs='*')
    arguments = parser.parse_args()
    chosen = [c for c in CASES if not arguments.cases or c.name in arguments.cases]
    count, reasons, failed, used = 0, collections.Counter(), 0, set()
    with tempfile.TemporaryDirectory(prefix='diff-') as folder:
        for case in chosen:
            answers = run(case, [arguments.reference, shlex.quote(PLEIAD) + ' {config}'], Path(folder))
            count += len(answers[0])
            for label, a, b in differences(case, answers):
                reason = expected.reason(case.name, label, a, b)
                if reason:
                    reasons[reason] += 1
                    used.add(reason)
                    continue
                failed += 1
                print('%s: %s\n  Orthanc: %s\n  Pleiad:  %s' % (case.name, label, json.dumps(a), json.dumps(b)))
            print('%s: %d answers compared' % (case.name, len(answers[0])), flush=True)
    unused = set() if arguments.cases else expected.REASONS - used
    for reason in unused:
        print('explained, but there is no such difference: %s' % reason)
    print('%d answers: %d equal, %d differ for a known reason, %d differ' % (count, count - failed - sum(reasons.values()), sum(reasons.values()), failed))
    if arguments.report:
        lines = ['| Answers | |', '| --- | --- |', '| compared | %d |' % count, '| equal | %d |' % (count - failed - sum(reasons.values()))]
        lines += ['| different: %s | %d |' % item for item in sorted(reasons.items())] + ['| different without a reason | %d |' % failed]
        head = '# What `make diff` found\n\nThe same requests to Orthanc 1.13.0 and to Pleiad, both on SQLite; how answers are compared is said in\n`tests/diff/compare.py`.\n\n'
        arguments.report.write_text(head + '\n'.join(lines) + '\n')
    sys.exit(1 if failed or unused else 0)


if __name__ == '__main__':
    main()
