"""What `/tools/metrics-prometheus` says of jobs."""
import pytest
from dicom import dicom_bytes, instance
from jobs import act, create, success, wait_for, wait_for_state


def metrics(client):
    lines = client.get('/tools/metrics-prometheus').text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(' ', 1) for line in lines if line and line[0] != '#')}


def summed(server, name):
    """Counters are of each process."""
    values = []
    for node in server.nodes:
        lines = metrics(type(server)(node.url, node.dicom_port))
        values.append(lines.get(name, 0))
    return sum(values)


@pytest.mark.config(ConcurrentJobs=1)
def test_metrics_of_jobs(server, receiver):
    before = metrics(server)
    assert before['orthanc_jobs_pending'] == before['orthanc_jobs_running'] == before['pleiad_jobs_oldest_pending_seconds'] == 0
    assert 'orthanc_jobs_total_completed' not in before, 'absent until the first job ends'
    destination = receiver()
    destination.stop_answering()
    assert server.request('PUT', '/modalities/destination', json=destination.modality).ok
    study = server.upload(dicom_bytes(instance()))['ParentStudy']
    busy = [create(server, '/modalities/destination/store', Resources=[study]) for _ in server.nodes]
    wait_for(lambda: len(destination.arrivals) == len(busy), what='all workers are busy')
    waiting = [create(server, '/modalities/destination/store', Resources=[study]), create(server, '/studies/%s/archive' % study)]
    paused = create(server, '/studies/%s/archive' % study)
    assert act(server, paused, 'pause') == 200
    wait_for(lambda: metrics(server)['pleiad_jobs_oldest_pending_seconds'] > 0, what='an age')
    now = metrics(server)
    assert now['orthanc_jobs_pending'] == 2 and now['orthanc_jobs_running'] == len(busy) + 1
    assert now['pleiad_jobs_pending{type="DicomModalityStore"}'] == now['pleiad_jobs_pending{type="Archive"}'] == 1
    assert act(server, busy[0], 'cancel') == 200
    wait_for_state(server, busy[0], 'Failure')
    destination.go_on()
    for made in busy[1:] + waiting:
        success(server, made)
    after = metrics(server)
    assert after['orthanc_jobs_pending'] == 0 and after['orthanc_jobs_running'] == 1, 'one is paused'
    wait_for(lambda: summed(server, 'orthanc_jobs_total_completed') == len(busy) + 2, what='the counters')
    assert summed(server, 'orthanc_jobs_total_failed') == 1
    assert summed(server, 'orthanc_jobs_total_success') == len(busy) + 1
    assert summed(server, 'pleiad_jobs_rescued_total') == summed(server, 'pleiad_jobs_fenced_writes_total') == 0
