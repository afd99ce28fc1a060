"""What `compare.py` asks about jobs: routes, states and actions, the job object, creation, outputs, history."""
import contextlib
import time

from dicom import dicom_bytes, instance
from receiver import Receiver

UNKNOWN = '00000000-0000-4000-8000-000000000000'
ACTIONS = ['cancel', 'pause', 'resume', 'resubmit', 'DELETE']
MISSING = '-'.join(8 * str(n) for n in range(1, 6))
STATES = ['Pending', 'Running', 'Paused', 'Success', 'Failure']
STUDY, SERIES = '1.2.826.0.1.3680043.10.1', '1.2.826.0.1.3680043.10.2'


class Around:
    """The remotes that a server may send to. They are the same for both servers, ports aside."""

    def __init__(self, stack):
        def remote(aet, **behaviour):
            receiver = Receiver(aet=aet, **behaviour)
            stack.callback(receiver.end)
            return receiver
        self.remotes = {'fast': remote('FAST'), 'slow': remote('SLOW', delay=0.3), 'refusing': remote('REFUSING', status=0xA700)}
        modalities = {name: [r.aet, '127.0.0.1', r.port] for name, r in self.remotes.items()}
        modalities['nobody'] = ['NOBODY', '127.0.0.1', 1]
        self.options = {'DicomModalities': modalities}


class Case:
    def __init__(self, name, ask, **options):
        self.name, self.ask, self.options = name, ask, options

    @contextlib.contextmanager
    def around(self):
        with contextlib.ExitStack() as stack:
            yield Around(stack)


def fill(server, count=12):
    """One study; its ids are the same on both servers. Returns the ids of the study, its series and its first instance."""
    for n in range(1, count + 1):
        ds = instance(study=STUDY, series=SERIES, SOPInstanceUID='1.2.826.0.1.3680043.10.3.%d' % n, InstanceNumber=n)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        answer = server.client.upload(dicom_bytes(ds))
    return answer['ParentStudy'], answer['ParentSeries'], sorted(server.client.json('/instances'))[0]


def state(server, job):
    return server.client.json('/jobs/' + job)['State']


def wait_for(server, job, *states, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if state(server, job) in states:
            return state(server, job)
        time.sleep(0.02)
    return state(server, job)


def send(server, remote, resource, **more):
    body = {'Asynchronous': True, 'Resources': [resource], **more}
    answer = server.client.request('POST', '/modalities/%s/store' % remote, json=body)
    answer.raise_for_status()
    return answer.json()['ID']


def archive(server, study, **more):
    return server.client.request('POST', '/studies/%s/archive' % study, json={'Asynchronous': True, **more}).json()['ID']


def make(server, wanted, study):
    """A new job in the state that is wanted, and the jobs that keep it there."""
    if wanted == 'Success':
        job = archive(server, study)
        return job, wait_for(server, job, 'Success') and []
    if wanted == 'Failure':
        job = send(server, 'refusing', study)
        return job, wait_for(server, job, 'Failure') and []
    if wanted == 'Pending':
        others = [send(server, 'slow', study) for _ in range(2)]
        for other in others:
            wait_for(server, other, 'Running')
        return send(server, 'slow', study), others
    job = send(server, 'slow', study)
    wait_for(server, job, 'Running')
    if wanted == 'Paused':
        server.client.post('/jobs/%s/pause' % job, '')
        wait_for(server, job, 'Paused')
    return job, []


def finish(server, jobs):
    for job in jobs:
        if server.client.get('/jobs/' + job).status_code == 200:
            server.client.post('/jobs/%s/cancel' % job, '')
            wait_for(server, job, 'Failure', 'Success')


def routes(server, _):
    fill(server, 1)
    for path in ['/jobs', '/jobs?expand', '/jobs?expand=nope', '/jobs?expand=0', '/jobs?expand=true']:
        server.ask('GET', path)
    for job in [UNKNOWN, UNKNOWN.upper(), 'nope', 'a%20b', '0' * 400]:
        server.ask('GET', '/jobs/' + job)
        server.ask('DELETE', '/jobs/' + job)
        server.ask('GET', '/jobs/%s/archive' % job)
        server.ask('DELETE', '/jobs/%s/archive' % job)
        for action in ACTIONS[:4]:
            server.ask('POST', '/jobs/%s/%s' % (job, action))
            server.ask('POST', '/jobs/%s/%s' % (job, action), {})
    for method, path in [('POST', '/jobs'), ('PUT', '/jobs'), ('DELETE', '/jobs'), ('PUT', '/jobs/' + UNKNOWN), ('POST', '/jobs/' + UNKNOWN),
                         ('GET', '/jobs/%s/cancel' % UNKNOWN), ('PUT', '/jobs/%s/cancel' % UNKNOWN), ('POST', '/jobs/%s/archive' % UNKNOWN),
                         ('PUT', '/jobs/%s/archive' % UNKNOWN), ('GET', '/jobs/%s/a/b' % UNKNOWN)]:
        server.ask(method, path)


def actions(server, _):
    """Every action in every state, and what became of the job."""
    study, _, _ = fill(server)
    for wanted in STATES:
        for action in ACTIONS:
            job, others = make(server, wanted, study)
            label = '%s: %s' % (wanted, action)
            server.note(label + ', before', state(server, job))
            if action == 'DELETE':
                server.ask('DELETE', '/jobs/' + job, label=label)
            else:
                server.ask('POST', '/jobs/%s/%s' % (job, action), {}, label=label)
            if server.client.get('/jobs/' + job).status_code == 200:
                if (wanted, action) in [('Running', 'cancel'), ('Running', 'pause')]:
                    wait_for(server, job, 'Failure', 'Paused')
                if (wanted, action) == ('Failure', 'resubmit'):
                    wait_for(server, job, 'Pending', 'Running')
                    wait_for(server, job, 'Failure')
                if (wanted, action) == ('Paused', 'resume'):
                    wait_for(server, job, 'Running')
                seen = server.client.json('/jobs/' + job)
                server.note(label + ', after', [seen['State'], seen['ErrorCode'], seen['ErrorDescription']])
            finish(server, [job, *others])


def objects(server, _):
    """The job object in every state: its members, and what they hold."""
    study, _, _ = fill(server)
    for wanted in STATES:
        job, others = make(server, wanted, study)
        answer = server.client.json('/jobs/' + job)
        server.note(wanted + ': members', sorted(answer))
        server.note(wanted + ': types', {k: type(v).__name__ for k, v in sorted(answer.items())})
        server.note(wanted + ': values', {k: answer[k] for k in ['Type', 'Priority', 'ErrorCode', 'ErrorDescription'] if k in answer})
        server.note(wanted + ': Content', {k: type(v).__name__ for k, v in sorted(answer['Content'].items())})
        server.note(wanted + ': payload', answer.get('ErrorPayload'))
        finish(server, [job, *others])
    done = send(server, 'fast', study)
    wait_for(server, done, 'Success')
    server.ask('GET', '/jobs/' + done, label='a send that ended')
    done = archive(server, study)
    wait_for(server, done, 'Success')
    server.ask('GET', '/jobs/' + done, label='an archive that ended')


def creation(server, _):
    study, series, one = fill(server, 3)
    make_archive, make_send = '/studies/%s/archive' % study, '/modalities/fast/store'
    for path, start in [(make_archive, {}), (make_send, {'Resources': [one]})]:
        for name, values in [('Synchronous', [True, 'yes', 1, None]), ('Asynchronous', ['yes', 0]), ('Priority', [5, -7, 2 ** 31 - 1, 2 ** 40, -2 ** 70, 'high', 1.5, None]),
                             ('UserData', ['text', None])]:
            for value in values:
                answer = server.ask('POST', path, {**start, name: value})
                if answer.status_code == 200 and name in ('Priority', 'UserData'):
                    answer = server.client.request('POST', path, json={**start, 'Asynchronous': True, name: value})
                    job = answer.json()['ID']
                    wait_for(server, job, 'Success', 'Failure')
                    seen = server.client.json('/jobs/' + job)
                    server.note('%s %s %r in the job' % (path, name, value), [seen['Priority'], seen.get('UserData', 'none')])
    for value in [{'a': [1, None]}, ['x'], 7, True]:
        job = send(server, 'fast', one, UserData=value)
        server.note('UserData %r of a send' % (value,), server.client.json('/jobs/' + job).get('UserData', 'none'))
    for body in [None, '', 'nope', '[]', '{}', '7', '"text"']:
        server.ask('POST', make_archive, body)
    for body in [None, '', 'nope', one, [one], [], {}, {'Resources': []}, {'Resources': one}, {'Resources': ['nope']}, {'Resources': [one, MISSING]}, {'Resources': [7]},
                 {'Resources': [series], 'LocalAet': 'ME', 'Timeout': 5}, {'Resources': [one], 'Timeout': -1}, {'Resources': [one], 'Timeout': 'x'},
                 {'Resources': [one], 'Permissive': 'x'}, {'Resources': [one], 'MoveOriginatorAet': 'A', 'MoveOriginatorID': 3}]:
        server.ask('POST', make_send, body)
    for remote in ['refusing', 'nobody', 'unknown']:
        server.ask('POST', '/modalities/%s/store' % remote, {'Resources': [one]})
        server.ask('POST', '/modalities/%s/store' % remote, {'Resources': [one], 'Permissive': True}, label='%s, permissive' % remote)
    for body in [[], [study], [one, one], [one, study, one], ['nope'], [MISSING], {'Resources': [study, series]}, {'Resources': []}, {}, 'nope', {'Resources': 'nope'}]:
        server.ask('POST', '/tools/create-archive', body)
    server.ask('GET', '/tools/create-archive?resources=%s,%s' % (one, one))
    server.ask('GET', '/tools/create-archive')
    server.ask('GET', '/tools/create-archive?resources=nope')
    server.ask('GET', '/tools/create-archive?resources=' + MISSING)
    server.ask('GET', '/studies/%s/archive' % UNKNOWN)
    server.ask('GET', '/studies/%s/archive' % MISSING)
    server.ask('POST', '/studies/%s/archive' % MISSING, {})
    for path in ['media', 'media?extended', 'archive?transcode=nope', 'archive?lossy-quality=x']:
        server.ask('GET', '/studies/%s/%s' % (study, path))
    for body in [[one, one], {'Resources': [study], 'Extended': True}, {'Resources': [MISSING]}]:
        server.ask('POST', '/tools/create-media', body)
    server.ask('GET', '/tools/create-media?resources=%s,%s' % (one, one))
    server.ask('GET', '/tools/create-media-extended?resources=' + one)
    server.ask('POST', '/tools/create-media-extended', [one])


def outputs(server, _):
    study, series, one = fill(server, 2)
    first = archive(server, study, Filename='tot"o.zip')
    wait_for(server, first, 'Success')
    for path in ['archive', 'archive?filename=x.zip', 'nope', 'archive/more']:
        server.ask('GET', '/jobs/%s/%s' % (first, path))
    second = server.client.request('POST', '/series/%s/archive' % series, json={'Asynchronous': True}).json()['ID']
    wait_for(server, second, 'Success')
    server.ask('GET', '/jobs/%s/archive' % first, label='read again, so that it is the one that stays')
    third = server.client.request('POST', '/tools/create-media', json={'Asynchronous': True, 'Resources': [one]}).json()['ID']
    wait_for(server, third, 'Success')
    for label, job in [('first', first), ('second', second), ('third', third)]:
        server.ask('GET', '/jobs/%s/archive' % job, label=label)
    server.ask('DELETE', '/jobs/%s/archive' % third)
    server.ask('DELETE', '/jobs/%s/archive' % third)
    server.ask('GET', '/jobs/%s/archive' % third)
    server.ask('GET', '/jobs/' + third, label='the job without its output')
    server.ask('DELETE', '/jobs/' + third)
    server.ask('GET', '/jobs/' + third)
    for path in ['/studies/%s/archive' % study, '/studies/%s/archive?filename=x.zip' % study, '/series/%s/media' % series,
                 '/instances/%s/archive' % one]:
        server.ask('GET', path)


def history(server, _):
    study, _, _ = fill(server, 1)
    made = []
    for _ in range(4):
        made.append(archive(server, study))
        wait_for(server, made[-1], 'Success')
    for n, job in enumerate(made):
        server.ask('GET', '/jobs/' + job, label='job %d of 4 with a history of 2' % n)
    server.note('listed', len(server.client.json('/jobs')))


CASES = [
    Case('routes', routes),
    Case('actions', actions, JobsHistorySize=100, MediaArchiveSize=10),
    Case('objects', objects, JobsHistorySize=100),
    Case('creation', creation, JobsHistorySize=100, MediaArchiveSize=10),
    Case('outputs', outputs, MediaArchiveSize=2, JobsHistorySize=10),
    Case('history', history, JobsHistorySize=2, MediaArchiveSize=5),
]
