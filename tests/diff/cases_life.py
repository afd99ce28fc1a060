"""What `compare.py` asks about the life of jobs: their order, who waits for them, what is forgotten, restarts, metrics, log levels."""
import re
import threading
import time

import requests
from cases_jobs import Case, archive, fill, finish, make, send, state, wait_for

UUID_4 = r'[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'


def end_of(server, job):
    """How a job ended."""
    wait_for(server, job, 'Success', 'Failure', 'Paused', seconds=30)
    seen = server.client.json('/jobs/' + job)
    return [seen['State'], seen['ErrorCode'], seen['Content'].get('FailedInstancesCount')]


def new_job(server, before):
    end = time.monotonic() + 15
    while time.monotonic() < end:
        made = set(server.client.json('/jobs')) - set(before)
        if made:
            return made.pop()
        time.sleep(0.01)


def order(server, _):
    """One at a time, the highest priority first."""
    study, _, one = fill(server)
    busy = send(server, 'slow', study)
    wait_for(server, busy, 'Running')
    jobs = {send(server, 'fast', one, Priority=n): n for n in (0, 5, -3, 2 ** 31 - 1, -2 ** 31)}
    server.note('ids', all(re.fullmatch(UUID_4, job) for job in jobs))
    for job in [busy, *jobs]:
        wait_for(server, job, 'Success')
    server.note('order', [jobs[job] for job in sorted(jobs, key=lambda job: server.client.json('/jobs/' + job)['CompletionTime'])])


def both(server, _):
    """A pause and a cancel before the runner sees either."""
    study, _, _ = fill(server)
    for first, second in [('pause', 'cancel'), ('cancel', 'pause')]:
        job = send(server, 'slow', study)
        wait_for(server, job, 'Running')
        for action in (first, second):
            server.client.post('/jobs/%s/%s' % (job, action), '{}')
        server.note('%s, then %s' % (first, second), end_of(server, job)[:2])
        finish(server, [job])


def resubmitted(server, _):
    """What a job shows that waits again, and what it keeps."""
    study, _, one = fill(server)
    job = send(server, 'refusing', one, Priority=3, UserData='u')
    wait_for(server, job, 'Failure')
    before = server.client.json('/jobs/' + job)
    others = [send(server, 'slow', study, Priority=9) for _ in range(2)]
    for other in others:
        wait_for(server, other, 'Running')
    server.client.post('/jobs/%s/resubmit' % job, '{}')
    after = server.client.json('/jobs/' + job)
    server.note('kept', {k: before[k] == after[k] for k in ['ID', 'CreationTime', 'Priority', 'UserData', 'Type']})
    server.note('resubmitted', after['State'])
    server.note('error of the earlier run', [after['ErrorCode'], after['ErrorDetails'] == ''])
    zipped = archive(server, study)
    server.client.post('/jobs/%s/cancel' % zipped, '{}')
    server.note('a cancelled archive', state(server, zipped))
    server.ask('POST', '/jobs/%s/resubmit' % zipped, {}, label='resubmit of an archive')
    finish(server, others)
    server.note('the next run', end_of(server, job)[:2])


def callers(server, _):
    """Who waits for a job while others act on it."""
    study, _, _ = fill(server)

    def ask(answers):
        answers.append(requests.post(server.client.url + '/modalities/slow/store', json={'Resources': [study]}, timeout=30))

    for actions in [['cancel'], ['pause', 'resume'], ['pause', 'cancel']]:
        before, answers = server.client.json('/jobs'), []
        caller = threading.Thread(target=ask, args=(answers,))
        caller.start()
        job = new_job(server, before)
        wait_for(server, job, 'Running')
        for n, action in enumerate(actions):
            if n:
                wait_for(server, job, 'Paused')
                time.sleep(0.7)
                server.note('%s: still waits' % actions, caller.is_alive())
            server.client.post('/jobs/%s/%s' % (job, action), '{}')
        caller.join()
        body = answers[0].json()
        server.note('%s: answer' % actions, [answers[0].status_code, body.get('OrthancStatus'), sorted(body)])
        server.note('%s: job' % actions, end_of(server, job)[:2])
    before = server.client.json('/jobs')
    try:
        requests.post(server.client.url + '/modalities/slow/store', json={'Resources': [study]}, timeout=0.5)
    except requests.exceptions.ReadTimeout:
        server.note('a client that goes away: job', end_of(server, new_job(server, before))[:2])


def forgotten(server, _):
    """A history of no jobs."""
    study, _, one = fill(server, 2)
    server.ask('POST', '/modalities/fast/store', {'Resources': [one]}, label='a caller that waits')
    server.ask('POST', '/modalities/refusing/store', {'Resources': [one]}, label='a caller that waits for a failure')
    server.ask('GET', '/studies/%s/archive' % study)
    job = archive(server, study)
    time.sleep(1)
    server.ask('GET', '/jobs/' + job)
    server.ask('GET', '/jobs')


def restart(server, _):
    """A job in each state before and after a restart, and a restart without jobs."""
    study, _, one = fill(server)
    jobs = {}
    jobs['Success'] = send(server, 'fast', one, Priority=4, UserData={'a': 1})
    jobs['Failure'] = send(server, 'refusing', one)
    jobs['Archive'] = archive(server, study)
    for job in jobs.values():
        wait_for(server, job, 'Success', 'Failure')
    jobs['Paused'], _ = make(server, 'Paused', study)
    jobs['Pending'], [jobs['Running'], jobs['Running too']] = make(server, 'Pending', study)
    before = {name: server.client.json('/jobs/' + job) for name, job in jobs.items()}
    server.restart()
    for name, job in sorted(jobs.items()):
        answer = server.client.get('/jobs/' + job)
        if not answer.ok:
            server.note('%s: after a restart' % name, 'unknown')
        elif name in ('Success', 'Failure', 'Archive'):
            kept = ['State', 'CreationTime', 'CompletionTime', 'Priority', 'UserData', 'ErrorCode', 'Content']
            server.note('%s: after a restart' % name, {k: answer.json().get(k) == before[name].get(k) for k in kept})
        elif name == 'Paused':
            server.note('%s: after a restart' % name, answer.json()['State'])
        else:
            server.note('%s: after a restart' % name, end_of(server, job))
    last = max(server.client.json('/instances?expand'), key=lambda i: int(i['MainDicomTags']['InstanceNumber']))
    server.client.delete('/instances/' + last['ID'])
    server.restart()
    server.note('a paused send that lost an instance: listed', server.client.get('/jobs/' + jobs['Paused']).ok)
    server.restart('--no-jobs')
    server.note('without jobs', len(server.client.json('/jobs')))
    server.restart()
    server.note('after a start without jobs', len(server.client.json('/jobs')))


def metrics(server, _):
    """The numbers of jobs, and the form of every line."""
    def seen():
        lines = [line.split(' ') for line in server.client.get('/tools/metrics-prometheus').text.splitlines() if line[:1] != '#']
        server.note('every line has a name, a value and a time in ms', all(len(p) == 3 and len(p[2]) == 13 for p in lines))
        return {p[0]: float(p[1]) for p in lines if p[0].startswith('orthanc_jobs')}
    study, _, _ = fill(server)
    server.note('before the first job', seen())
    waits, running = make(server, 'Pending', study)
    server.note('two run, one waits', seen())
    server.client.post('/jobs/%s/pause' % waits, '{}')
    server.note('two run, one is paused', seen())
    server.client.post('/jobs/%s/cancel' % waits, '{}')
    server.note('the paused one is cancelled', seen())
    server.client.post('/jobs/%s/cancel' % running[0], '{}')
    for job in running:
        wait_for(server, job, 'Success', 'Failure')
    server.note('one is cancelled, one succeeded', seen())
    lines = server.client.get('/tools/metrics-prometheus').text.splitlines()
    names = {line.split(' ')[0] for line in lines}
    for name in ['orthanc_rest_api_active_requests', 'orthanc_available_http_threads_count', 'orthanc_count_instances',
                 'orthanc_disk_size_mb', 'orthanc_last_change', 'orthanc_up_time_s', 'orthanc_jobs_completed']:
        server.note(name, name in names)


def performance(server, _):
    server.note('ConcurrentJobs', server.client.json('/system').get('Performance', {}).get('ConcurrentJobs'))
    server.ask('GET', '/tools/log-level-jobs')
    for level in ['verbose', 'trace', 'default', 'nope', '']:
        server.ask('PUT', '/tools/log-level-jobs', level)
        server.ask('GET', '/tools/log-level-jobs', label='after %r' % level)


CASES = [
    Case('order', order, ConcurrentJobs=1, JobsHistorySize=100),
    Case('both', both, JobsHistorySize=100),
    Case('resubmitted', resubmitted, ConcurrentJobs=2, JobsHistorySize=100),
    Case('callers', callers, JobsHistorySize=100),
    Case('forgotten', forgotten, JobsHistorySize=0),
    Case('restart', restart, ConcurrentJobs=2, JobsHistorySize=100),
    Case('metrics', metrics, ConcurrentJobs=2, JobsHistorySize=100),
    Case('performance', performance, ConcurrentJobs=3),
]
