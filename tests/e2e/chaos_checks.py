"""What must hold after the mixed chaos: the invariants of the registry and of the store, by SQL and by HTTP."""
import io
import time
from collections import Counter
from datetime import datetime

import requests
from chaos_load import CANCELED, INTERNAL, STORAGE
from jobs import wait_for
from pydicom import dcmread

ENDED = ('Success', 'Failure')
ORPHAN_SECONDS = 15
# From a fault of a process to the end of a job that it ran: two leases, some seconds to restart the database, and one for the beat.
HIT_SECONDS = 45


IMPORT = 'WebDavImport'


def imports(states):
    """The jobs that import what clients put into the area for uploads: nobody asked for them, and nobody meddles with them."""
    return [identifier for identifier, one in states.items() if one['Type'] == IMPORT]


class Orphans:
    """Running jobs whose process has no lease: somebody takes them over soon."""

    def __init__(self, database):
        self.database, self.since = database, {}

    def look(self):
        now = time.monotonic()
        found = self.database.sql("""SELECT j.id, j.epoch FROM pleiad.job j WHERE j.state = 'R' AND NOT EXISTS (
            SELECT FROM pleiad.node n WHERE n.id = j.owner AND n.lease_until > extract(epoch FROM clock_timestamp()) * 1000000)""").split()
        self.since = {run: self.since.get(run, now) for run in found}
        late = [run for run, since in self.since.items() if now - since > ORPHAN_SECONDS]
        assert not late, 'nobody takes over %s' % late


def was_given_up(found, hits):
    """Whether a job lost three processes, the last one, in which it ran alone, to a fault that the poison jobs have no part in."""
    if found['ErrorCode'] != INTERNAL or not found['ErrorDetails'].startswith('3 processes ended'):
        return False
    name = found['ErrorDetails'].split(', ')[-1].split(' ')[0]
    ended = datetime.strptime(found['CompletionTime'] + '+0000', '%Y%m%dT%H%M%S.%f%z').timestamp()
    return any(hit == name and ended - HIT_SECONDS < at < ended for hit, at in hits)


def settle(load, world, dice):
    """Brings every job to the end that was intended: what was paused goes on, what met a fault that it may fail of is tried again."""
    deadline, orphans = time.monotonic() + 300, Orphans(world.database)
    while True:
        world.tend(dice)
        orphans.look()
        states = {one['ID']: one for one in load.ask('GET', '/jobs?expand').json()}
        lost = [job.identifier for job in load.jobs if job.identifier not in states]
        assert not lost, 'jobs are unknown: %s' % lost[:5]
        waiting = int(world.database.sql('SELECT count(*) FROM pleiad.uploaded_file'))
        for job in load.jobs:
            found = states[job.identifier]
            state, given_up = found['State'], was_given_up(found, world.hits)
            if state == 'Paused':
                load.ask('POST', '/jobs/%s/resume' % job.identifier, good=(200, 400), data='{}')
            elif state == 'Failure' and (found['ErrorCode'] in STORAGE or given_up):
                load.count('jobs tried again that %s' % ('lost three processes' if given_up else 'met the unusable storage area'))
                job.asked['resubmit'] += 1
                load.ask('POST', '/jobs/%s/resubmit' % job.identifier, good=(200, 400), data='{}')
            elif state in ENDED:
                continue
            waiting += 1
        for identifier in load.poison.jobs + imports(states):
            found = states[identifier]
            again = found['Type'] == IMPORT and was_given_up(found, world.hits)
            if found['State'] == 'Failure' and (found['ErrorCode'] in STORAGE or again):
                load.ask('POST', '/jobs/%s/resubmit' % identifier, good=(200, 400), data='{}')
            elif found['State'] in ENDED:
                continue
            waiting += 1
        if not waiting:
            load.studies += load.arriving
            load.arriving = []
            return states
        assert time.monotonic() < deadline, Counter(one['State'] for one in states.values())
        time.sleep(0.5)


def check_jobs(load, states, database):
    """Each job is there once, ended once, as it was intended to."""
    ids = [job.identifier for job in load.jobs] + load.poison.jobs + imports(states)
    assert len(ids) == len(set(ids)) and set(ids) == set(states), 'jobs that nobody made, or twice: %s' % (set(states) - set(ids))
    assert database.sql("SELECT count(*) FROM pleiad.job WHERE done_seq IS NULL OR state NOT IN ('S', 'F') OR owner IS NOT NULL") == '0'
    epochs = dict(line.split('|') for line in database.sql('SELECT id, epoch FROM pleiad.job').splitlines())
    for job in load.jobs:
        found = states[job.identifier]
        if found['State'] == 'Failure':
            assert found['ErrorCode'] == CANCELED and job.asked['cancel'], found
        else:
            assert found['Progress'] == 100 and found['Content'].get('FailedInstancesCount', 0) == 0, found
            if job.receiver:
                check_arrivals(job, int(epochs[job.identifier]))
    for identifier in imports(states):
        assert states[identifier]['State'] == 'Success', states[identifier]
    for identifier in load.poison.jobs:
        found = states[identifier]
        assert (found['State'], found['ErrorCode']) == ('Failure', INTERNAL), found
        assert found['ErrorDetails'].startswith('3 processes ended'), found


def check_archives(load, database):
    """What jobs made and what was not evicted can be fetched, whole."""
    jobs = {job.identifier: job for job in load.jobs}
    for identifier in database.sql('SELECT job FROM pleiad.job_output').split():
        load.fetch(jobs[identifier])


def check_arrivals(job, epoch):
    """All of it arrived, in each run once at most, and the runs came one after the other.

    A run that cannot reach the database goes on until its lease is nearly over, so the next one may repeat all of it.
    """
    seen = job.receiver.seen.get(job.aet, [])
    counts = Counter(uid for uid, _ in seen)
    assert set(counts) == set(job.study.uids), 'a job succeeded whose instances did not arrive: %s' % job
    assert max(counts.values()) <= epoch, '%s: %s in %d runs' % (job.identifier, counts, epoch)
    associations = [port for _, port in seen]
    order = list(dict.fromkeys(associations))
    assert len(order) <= epoch, '%d associations in %d runs' % (len(order), epoch)
    for later, one in enumerate(order[1:], 1):
        late = sum(other in order[:later] for other in associations[associations.index(one):])
        assert late <= 1, '%s ran twice at once' % job.identifier


def check_instances(load, nodes):
    """What was acknowledged is there, nothing else, and as it was sent."""
    sent = {identifier: (body, study.door) for study in load.studies for identifier, body in study.sent.items()}
    for node in nodes:
        listed = requests.get(node.url + '/instances').json()
        assert len(listed) == len(sent) and set(listed) == set(sent), node.config['Name']
        statistics = requests.get(node.url + '/statistics').json()
        assert statistics['CountInstances'] == len(sent) and statistics['CountStudies'] == statistics['CountSeries'] == len(load.studies)
        assert statistics['CountPatients'] == 1
    session = requests.Session()
    stored = 0
    for number, (identifier, (body, door)) in enumerate(sent.items()):
        got = session.get('%s/instances/%s/file' % (nodes[number % len(nodes)].url, identifier)).content
        stored += len(got)
        # storescu writes the meta header itself.
        same = got == body if door != 'C-STORE' else dcmread(io.BytesIO(got)) == dcmread(io.BytesIO(body))
        assert same, '%s is not what was sent' % identifier
    assert int(statistics['TotalUncompressedSize']) == stored


def check_totals(load, database):
    """The counters of all levels are those of the rows below them."""
    assert database.sql("""
        SELECT count(*) FROM pleiad.study s JOIN (
            SELECT e.study, count(*) AS instances, sum(i.size_bytes) AS size FROM pleiad.series e JOIN pleiad.instance i ON i.series = e.id GROUP BY 1
        ) x ON x.study = s.id WHERE (s.series_count, s.instance_count, s.size_bytes) = (1, x.instances, x.size)""") == str(len(load.studies))
    check_sums(database)


def check_sums(database):
    """The global counters are those of all rows."""
    assert database.sql("""
        SELECT (sum(patients), sum(studies), sum(series), sum(instances), sum(size_bytes)) =
            ((SELECT count(*) FROM pleiad.patient), (SELECT count(*) FROM pleiad.study), (SELECT count(*) FROM pleiad.series),
             (SELECT count(*) FROM pleiad.instance), (SELECT sum(size_bytes) FROM pleiad.instance)) FROM pleiad.stat_shard""") == 't'


def check_blobs(node, database):
    """Files are rows, once what dead processes reserved is swept."""
    def rows():
        return set(database.sql('SELECT blob FROM pleiad.instance UNION ALL SELECT blob FROM pleiad.attachment'
                                ' UNION ALL SELECT blob FROM pleiad.job_output UNION ALL SELECT blob FROM pleiad.uploaded_file').split())

    def difference():
        files, named = {blob.name for blob in node.blobs()}, rows()
        return files - named, named - files

    try:
        wait_for(lambda: difference() == (set(), set()), 150, 'as many files as rows')
    except AssertionError as error:
        orphans, lost = difference()
        raise AssertionError('%d files without a row, %d rows without a file, for example %s' % (
            len(orphans), len(lost), sorted(orphans)[:2] + sorted(lost)[:2])) from error


def check_changes(load):
    """Who followed the changes all the time has seen each instance and study, once."""
    wait_for(load.follower.poll, 60, 'the end of the changes')
    assert load.follower.went_back == 0
    sent = {identifier for study in load.studies for identifier in study.sent}
    assert load.follower.count('NewInstance') == len(sent) and load.follower.ids('NewInstance') == sent
    studies = {study.identifier for study in load.studies}
    assert load.follower.count('NewStudy') == len(studies) and load.follower.ids('NewStudy') == studies

    def stable():
        load.follower.poll()
        return load.follower.ids('StableStudy') == studies
    wait_for(stable, 60, 'StableStudy of all')


def check_events(load, states, database):
    """Scripts were told of each event, and of none before one of the same resource that happened earlier."""
    wait_for(lambda: database.sql('SELECT count(*) FROM pleiad.event') == '0', 120, 'the delivery of all events')
    told = {}
    text = "convert_from(%s, 'UTF8')"
    for line in database.sql('SELECT %s FROM pleiad.key_value' % ', '.join(text % c for c in ('store', 'key', 'value'))).splitlines():
        event, identifier, order = line.split('|')
        assert order == 'told', '%s of %s came %s' % (event, identifier, order)
        told.setdefault(event, set()).add(identifier)
    studies = {study.identifier for study in load.studies}
    ended = {state: {identifier for identifier, one in states.items() if one['State'] == state} for state in ENDED}
    for event, happened in [('OnStoredInstance', {identifier for study in load.studies for identifier in study.sent}),
                            ('OnNewStudy', studies), ('OnStableStudy', studies), ('OnJobSubmitted', set(states))]:
        assert told.get(event, set()) == happened, (event, len(happened), sorted(happened ^ told.get(event, set()))[:5])
    for event, state in [('OnJobSuccess', 'Success'), ('OnJobFailure', 'Failure')]:
        lost = ended[state] - told.get(event, set())
        assert not lost, (event, sorted(lost)[:5])


def check_modalities(load, nodes):
    for node in nodes:
        for name, port in load.ports.items():
            assert requests.get('%s/modalities/%s/configuration' % (node.url, name)).json()['Port'] == port
