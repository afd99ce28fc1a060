"""Jobs as clients see them."""
import io
import time
import zipfile

ENDED = {'Success', 'Failure'}


def wait_for(condition, seconds=30, what='it'):
    """Asks again and again; returns the first answer that is true."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end, '%s did not happen within %s s' % (what, seconds)
        time.sleep(0.05)
    return answer


def job(client, identifier):
    return client.json('/jobs/' + identifier)


def wait_for_state(client, identifier, *states, seconds=30):
    """Waits until a job is in one of the states, and returns it. A job that ended otherwise is an error at once."""
    def reached():
        found = job(client, identifier)
        assert found['State'] in states or found['State'] not in ENDED, found
        return found if found['State'] in states else None
    return wait_for(reached, seconds, 'the state %s' % ' or '.join(states))


def success(client, identifier, seconds=60):
    return wait_for_state(client, identifier, 'Success', seconds=seconds)


def create(client, path, **body):
    """Makes an asynchronous job and returns its id."""
    answer = client.post(path, None, json={'Asynchronous': True, **body})
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made['Path'] == '/jobs/' + made['ID']
    return made['ID']


def act(client, identifier, action):
    """POSTs an action and returns the status."""
    return client.post('/jobs/%s/%s' % (identifier, action), '{}').status_code


def runner(cluster):
    """The process that runs a job. There must be one job at most; None if nobody runs it at the moment."""
    pids = [node['Pid'] for node in cluster.json('/cluster/nodes') if node['Alive'] and node['RunningJobs']]
    found = [node for node in cluster.nodes if node.process.pid in pids]
    return found[0] if found else None


def zipped(body):
    """The number of files in a good ZIP."""
    archive = zipfile.ZipFile(io.BytesIO(body))
    assert archive.testzip() is None
    return len(archive.namelist())
