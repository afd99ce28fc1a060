"""What `/tools/metrics-prometheus` says of jobs."""
import threading
import time

import pytest
from dicom import dicom_bytes, instance
from jobs import act, create, success, wait_for, wait_for_state


def metrics(client):
    lines = client.get('/tools/metrics-prometheus').text.splitlines()
    parts = [line.split(' ') for line in lines if line[0] != '#']
    # Orthanc ends each line with its time in milliseconds, and clients of it count on that.
    assert all(len(part) == 3 and abs(int(part[2]) / 1000 - time.time()) < 60 for part in parts)
    return {name: float(value) for name, value, _ in parts}


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


@pytest.mark.config(HttpThreadsCount=4)
def test_requests_under_way_are_counted(server, receiver):
    """As in Orthanc: the most of the last ten seconds, with this one; and clients of Orthanc expect that somebody counts threads."""
    one = type(server)(server.nodes[0].url, server.nodes[0].dicom_port)
    first = metrics(one)
    assert first['orthanc_rest_api_active_requests'] >= 1
    assert first['orthanc_available_http_threads_count'] == max(4 - first['orthanc_rest_api_active_requests'], 0)
    silent = receiver()
    silent.stop_answering()
    assert server.request('PUT', '/modalities/silent', json=silent.modality).ok
    made = create(server, '/modalities/silent/store', Resources=[server.upload(dicom_bytes(instance()))['ID']])
    waiting = [threading.Thread(target=one.get, args=('/jobs/%s/wait?timeout=60' % made,)) for _ in range(3)]
    for thread in waiting:
        thread.start()
    wait_for(lambda: metrics(one)['orthanc_rest_api_active_requests'] >= 4, what='four requests at once')
    assert metrics(one)['orthanc_available_http_threads_count'] == 0
    silent.go_on()
    for thread in waiting:
        thread.join()
    success(server, made)
