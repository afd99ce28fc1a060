"""The clients that people have: pyorthanc and orthanc-api-client, used as their users would. What they expect and do not get is our mistake."""
import io
import zipfile

import httpx
import orthanc_api_client
import pydicom
import pyorthanc
import pytest
from conftest import client_of
from dicom import dicom_bytes, files, instance
from orthanc_api_client import ChangeType, InstancesSet, JobStatus, JobType, LabelsConstraint, LogLevel, ResourceType
from pyorthanc.jobs import Job, State


@pytest.fixture
def server(request, cluster):
    """Three processes behind the gateway only: one after the other answers, which a client must not notice."""
    mark = request.node.get_closest_marker('config')
    return client_of(cluster(mark.kwargs if mark else {}).start())


@pytest.fixture
def py(server):
    with pyorthanc.Orthanc(server.url, timeout=60) as client:
        yield client


@pytest.fixture
def api(server):
    client = orthanc_api_client.OrthancApiClient(server.url)
    yield client
    client.close()


@pytest.fixture
def other(node):
    """A second server, which is a peer of the first."""
    return node(name='other').start()


def study(number=3, **tags):
    """A study of one series."""
    first = instance(**tags)
    return [first] + [instance(first.StudyInstanceUID, first.SeriesInstanceUID, InstanceNumber=n, **tags) for n in range(2, number + 1)]


def names(archive):
    """The instances in a ZIP. pyorthanc sends what it is given as a data set without a preamble, and so it comes back."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return sorted(str(pydicom.dcmread(io.BytesIO(opened.read(name)), force=True).SOPInstanceUID) for name in opened.namelist() if name != 'DICOMDIR')


def uids(all_of_them):
    return sorted(str(ds.SOPInstanceUID) for ds in all_of_them)


def test_pyorthanc_uploads_and_finds(py, tmp_path):
    many = study(3, PatientID='UP', StudyDescription='Knee')
    files(tmp_path / 'folder', many[:2])
    assert len(pyorthanc.upload(py, str(tmp_path / 'folder'))) == 2
    [third] = pyorthanc.upload(py, many[2])
    assert third.uid == many[2].SOPInstanceUID and third.id_ == pyorthanc.util.to_orthanc_instance_id_from_ds(many[2])
    assert pyorthanc.upload(py, many[2], check_before_upload=True) == [third]
    archive = tmp_path / 'more.zip'
    more = study(2, PatientID='ZIP')
    with zipfile.ZipFile(archive, 'w') as target:
        for n, ds in enumerate(more):
            target.writestr('%d.dcm' % n, dicom_bytes(ds))
    assert sorted(one.uid for one in pyorthanc.upload(py, str(archive))) == uids(more)

    [found] = pyorthanc.find_studies(py, query={'StudyDescription': 'Kn*'})
    assert (found.uid, found.description, found.accession_number) == (many[0].StudyInstanceUID, 'Knee', 'A1')
    assert found.date.isoformat() == '2026-01-02T10:11:12'
    assert found.patient_information['PatientID'] == 'UP' and found.parent_patient.name == 'Doe^Jane'
    assert found.last_update.year >= 2026 and found.is_stable is False
    assert sorted(one.uid for one in found.series[0].instances) == uids(many)
    assert len(pyorthanc.find_instances(py, query={'PatientID': 'UP'})) == 3
    assert [p.patient_id for p in pyorthanc.find_patients(py, query={'PatientID': 'ZIP'})] == ['ZIP']
    assert len(pyorthanc.find_series(py, query={'Modality': 'CT'})) == 2
    # The window moves until nothing is left.
    assert len(pyorthanc.query_orthanc(py, 'Instance', limit=2)) == 5
    tree = pyorthanc.find(py, patient_filter=lambda p: p.patient_id == 'UP', instance_filter=lambda i: i.instance_number == 2)
    assert [i.instance_number for p in tree for s in p.studies for series in s.series for i in series.instances] == [2]


def test_pyorthanc_reads_an_instance(py):
    ds = instance(ImagePositionPatient=[1, 2.5, -3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], InstanceCreationDate='20260203')
    body = dicom_bytes(ds)
    one = pyorthanc.Instance(py.post_instances(body)['ID'], py)
    assert one.get_dicom_file_content() == body and one.file_size == len(body)
    buffer = io.BytesIO()
    one.download(buffer)
    assert buffer.getvalue() == body and one.get_pydicom() == pydicom.dcmread(io.BytesIO(body))
    assert one.image_position_patient == [1, 2.5, -3] and one.image_orientation_patient == [1, 0, 0, 0, 1, 0]
    assert one.tags['0010,0010'] == {'Name': 'PatientName', 'Type': 'String', 'Value': 'Doe^Jane'}
    assert one.simplified_tags['PatientName'] == 'Doe^Jane'
    assert one.get_content_by_tag('PatientName') == 'Doe^Jane' and one.get_content_by_tag('0020-0013') == '1'
    assert '0010-0010' in one.get_content_by_tag('')
    assert py.get_instances_id_header(one.id_, params={'simplify': True})['TransferSyntaxUID'] == '1.2.840.10008.1.2.1'
    series, patient = one.parent_series, one.parent_patient
    assert (series.modality, series.series_number, series.uid) == ('CT', 1, ds.SeriesInstanceUID)
    assert series.shared_tags['StudyDescription'] == 'Head' and one.parent_study.get_shared_tags(short=True)['0008,0060'] == 'CT'
    assert patient.get_patient_module(simplify=True)['PatientID'] == 'P1' and patient.birth_date.isoformat().startswith('1970-01-01')
    assert patient.protected is False
    patient.protected = True
    assert patient.protected is True
    patient.protected = False
    assert patient.protected is False


def test_pyorthanc_labels_and_metadata(py):
    [one] = pyorthanc.upload(py, instance())
    study = one.parent_study
    for resource in [one, one.parent_series, study, one.parent_patient]:
        resource.add_label('urgent')
        assert resource.labels == ['urgent']
    assert py.get_tools_labels() == ['urgent'] == py.get_studies_id_labels(study.id_)
    assert py.get_studies_id_labels_label(study.id_, 'urgent') == ''
    assert pyorthanc.find_studies(py, labels='urgent') == [study]
    assert pyorthanc.find_studies(py, labels=['urgent', 'other'], labels_constraint='Any') == [study]
    assert pyorthanc.find_studies(py, labels=['urgent'], labels_constraint='None') == []
    study.remove_label('urgent')
    assert study.labels == []
    with pytest.raises(httpx.HTTPError):
        py.get_studies_id_labels_label(study.id_, 'urgent')

    assert py._put(py.url + '/studies/%s/metadata/4000' % study.id_, content='a value') == ''
    assert py.get_studies_id_metadata_name(study.id_, '4000') == 'a value'
    assert py.get_studies_id_metadata(study.id_, params={'expand': ''})['4000'] == 'a value'
    assert py.delete_studies_id_metadata_name(study.id_, '4000') == ''
    assert '4000' not in py.get_studies_id_metadata(study.id_)
    assert py._put(py.url + '/studies/%s/attachments/5000' % study.id_, content=b'\x00\xff') == {}
    assert py.get_studies_id_attachments(study.id_) == ['5000']
    assert py.get_studies_id_attachments_name_data(study.id_, '5000') == b'\x00\xff'
    assert py.get_studies_id_attachments_name_size(study.id_, '5000') == '2'
    assert py.post_studies_id_attachments_name_verify_md5(study.id_, '5000') == {}
    assert py.delete_studies_id_attachments_name(study.id_, '5000') == ''


def test_pyorthanc_archives_and_jobs(py, tmp_path):
    many = study(3)
    for ds in many:
        pyorthanc.upload(py, ds)
    [found] = pyorthanc.find_studies(py)
    for resource in [found, found.series[0], found.parent_patient]:
        assert names(resource.get_zip()) == uids(many)
        resource.download(str(tmp_path / 'a.zip'))
        assert names((tmp_path / 'a.zip').read_bytes()) == uids(many)
    assert names(py.post_tools_create_archive([found.id_])) == uids(many)
    assert names(py.get_studies_id_media(found.id_)) == uids(many)

    made = py.post_studies_id_archive(found.id_, {'Asynchronous': True, 'Priority': 3})
    job = Job(made['ID'], py)
    job.wait_until_completion(time_interval=0.1)
    assert (job.state, job.type, job.progress, job.priority) == (State.success, 'Archive', 100, 3)
    assert job.error.value == 0 and job.error_details == '' and job.effective_runtime >= 0
    assert job.creation_time <= job.completion_time <= job.timestamp
    assert names(py.get_jobs_id_key(job.id_, 'archive')) == uids(many)
    assert py.delete_jobs_id_key(job.id_, 'archive') == ''
    assert job.id_ in py.get_jobs() and py.delete_jobs_id(job.id_) == '' and job.id_ not in py.get_jobs()
    with pytest.raises(httpx.HTTPError):
        py.post_jobs_id_cancel(job.id_)

    folder = tmp_path / 'written'
    pyorthanc.retrieve_and_write_patients(pyorthanc.find_patients(py), folder)
    assert sorted(path.stem for path in folder.rglob('*.dcm')) == uids(many)


def test_pyorthanc_modalities_and_peers(py, receiver, other):
    one = pyorthanc.Instance(py.post_instances(dicom_bytes(instance()))['ID'], py)
    target = receiver()
    assert py.put_modalities_id('target', {'AET': target.aet, 'Host': '127.0.0.1', 'Port': target.port}) == ''
    modality = pyorthanc.Modality(py, 'target')
    assert modality.echo() is True
    assert modality.store(one.id_)['InstancesCount'] == 1 and list(target.counts()) == [one.uid]
    assert py.get_modalities_id_configuration('target')['AET'] == target.aet and py.get_modalities() == ['target']
    assert py.delete_modalities_id('target') == '' and modality.echo() is False

    assert py.put_peers_id('other', {'Url': other.url}) == ''
    assert py.get_peers_id_system('other')['Version'] == py.get_system()['Version']
    assert py.post_peers_id_store('other', json={'Resources': [one.id_]})['InstancesCount'] == 1
    with pyorthanc.Orthanc(other.url) as client:
        assert client.get_instances_id_file(one.id_) == one.get_dicom_file_content()
    straight = py._post(py.url + '/peers/other/store-straight', content=dicom_bytes(instance()))
    assert straight['Status'] == 'Success' and py.get_instances() == [one.id_]
    assert py.get_peers_id_configuration('other')['Url'] == other.url + '/' and py.delete_peers_id('other') == ''


def test_pyorthanc_tools(py):
    [one] = pyorthanc.upload(py, instance(PatientID='T'))
    assert py.get_system()['Version'] == '1.13.0' and py.get_statistics()['CountInstances'] == 1
    assert py.get_studies_id_statistics(one.parent_study.id_)['CountInstances'] == 1
    assert [f['Type'] for f in py._post(py.url + '/tools/lookup', content='T')] == ['Patient']
    assert py.post_tools_count_resources({'Level': 'Study', 'Query': {'PatientID': 'T'}}) == {'Count': 1}
    assert py.post_tools_bulk_content({'Resources': [one.id_], 'Metadata': False})[0]['ID'] == one.id_
    assert {c['ChangeType'] for c in py.get_changes({'limit': 10})['Changes']} >= {'NewInstance', 'NewStudy'}
    assert py.delete_changes() == '' and py.get_changes()['Changes'] == []
    assert py.get_exports()['Exports'] == [] and py.delete_exports() == ''
    assert py._get(py.url + '/tools/generate-uid', params={'level': 'study'}).startswith('2.25.')
    assert 'T' in py.get_tools_now() and 'T' in py.get_tools_now_local()
    assert 'Verification' in py.get_tools_dicom_conformance()
    assert 'orthanc_count_instances 1' in py.get_tools_metrics_prometheus()
    assert py.get_tools_log_level() == 'default'
    assert py._put(py.url + '/tools/log-level-http', content='default') == ''
    assert py.post_instances_id_reconstruct(one.id_) == '' and py._post(py.url + '/tools/invalidate-tags') == ''
    assert py.get_plugins() and 'nothing' in py.get_plugins_explorer_js().decode().lower()
    assert py.post_tools_bulk_delete({'Resources': [one.id_]}) == '' and py.get_patients() == []


def test_api_client_uploads_and_finds(api, tmp_path):
    assert api.is_alive() and api.is_orthanc_version_at_least(1, 13, 0)
    many = study(3, PatientID='UP', StudyDescription='Knee')
    files(tmp_path / 'folder' / 'below', many[:2])
    ids = api.upload_folder(str(tmp_path / 'folder'))
    ids += api.upload(dicom_bytes(many[2]))
    assert sorted(api.instances.get_all_ids()) == sorted(ids)
    (tmp_path / 'folder' / 'README').write_text('not DICOM')
    with pytest.raises(orthanc_api_client.exceptions.BadFileFormat):
        api.upload_file(str(tmp_path / 'folder' / 'README'))
    studies, orthanc_ids, refused = api.upload_folder_return_details(str(tmp_path / 'folder'))
    assert studies == {many[0].StudyInstanceUID} and len(orthanc_ids) == 1 and len(refused) == 1

    [found] = api.studies.find({'StudyDescription': 'K*'}, order_by=[{'Type': 'Metadata', 'Key': 'LastUpdate', 'Direction': 'DESC'}],
                               requested_tags=['ModalitiesInStudy'])
    assert found.dicom_id == many[0].StudyInstanceUID and found.info.requested_tags.get('ModalitiesInStudy') == 'CT'
    assert found.patient_main_dicom_tags.get('PatientID') == 'UP' and found.last_update.year >= 2026 and not found.is_stable
    assert (found.statistics.instances_count, found.statistics.series_count) == (3, 1) and found.statistics.disk_size > 1000
    assert api.studies.lookup(many[0].StudyInstanceUID) == found.orthanc_id and api.studies.lookup('1.2.3') is None
    assert api.patients.lookup('UP') == found.info.patient_orthanc_id
    assert sorted(api.studies.get_instances_ids(found.orthanc_id)) == sorted(ids)
    assert sorted(i.dicom_id for i in api.studies.get_instances(found.orthanc_id)) == uids(many)
    assert api.studies.get_modalities(found.orthanc_id) == {'CT'}
    assert api.series.get_ordered_instances_ids(found.info.series_ids[0]) == [api.lookup(ds.SOPInstanceUID)[0] for ds in many]
    assert api.patients.find({'PatientID': 'up'}, case_sensitive=False)[0].dicom_id == 'UP'

    one = api.instances.get(ids[0])
    assert one.tags['PatientID'] == 'UP' and one.tags['0010-0020'] == 'UP' and one.series.study.orthanc_id == found.orthanc_id
    assert one.get_metadata('TransferSyntax') == '1.2.840.10008.1.2.1' and not api.instances.is_pdf(ids[0])
    downloaded = api.studies.download_instances(found.orthanc_id, str(tmp_path))
    assert sorted(pydicom.dcmread(one.path).SOPInstanceUID for one in downloaded) == uids(many)
    assert api.get_statistics().instances_count == 3
    assert api.get_metrics().get('orthanc_count_studies') == '1'
    changes, last, done = api.get_changes(limit=2)
    assert len(changes) == 2 and not done and changes[0].change_type in list(ChangeType) and changes[0].resource_type in list(ResourceType)
    changes, last, done = api.get_changes(since=last)
    assert done and last == changes[-1].sequence_id
    api.delete_all_content()
    assert api.studies.get_all_ids() == [] and api.get_statistics().instances_count == 0
    with pytest.raises(orthanc_api_client.exceptions.ResourceNotFound):
        api.studies.get_json(found.orthanc_id)


def test_api_client_labels_metadata_and_attachments(api):
    a, b = (api.upload(dicom_bytes(instance(PatientID=name)))[0] for name in 'ab')
    studies = [api.instances.get_parent_study_id(one) for one in (a, b)]
    api.studies.add_labels(studies[0], ['one', 'two'])
    api.studies.add_label(studies[1], 'two')
    assert api.studies.get_labels(studies[0]) == ['one', 'two'] and api.get_all_labels() == ['one', 'two']
    found = api.studies.find({}, labels=['one', 'two'], labels_constraint=LabelsConstraint.ANY)
    assert sorted(s.orthanc_id for s in found) == sorted(studies)
    assert [s.labels for s in api.studies.find({}, labels=['one', 'two'], labels_constraint=LabelsConstraint.ALL)] == [['one', 'two']]
    assert [s.orthanc_id for s in api.studies.find({}, labels=['one'], labels_constraint=LabelsConstraint.NONE)] == [studies[1]]
    api.studies.delete_labels(studies[0], ['one', 'two'])
    assert api.studies.get(studies[0]).labels == []

    api.instances.set_string_metadata(a, '1024', 'Grüße')
    assert api.instances.get_string_metadata(a, '1024') == 'Grüße' and api.instances.has_metadata(a, '1024')
    assert api.instances.get_string_metadata(b, '1024', default_value='none') == 'none' and not api.instances.has_metadata(b, '1025')
    assert api.instances.get_string_metadata_with_revision(a, '1024') == ('Grüße', api.instances.get_binary_metadata_with_revision(a, '1024')[1])
    api.instances.set_attachment(a, '1025', content=b'\0bytes', content_type='application/octet-stream')
    content, revision = api.instances.get_attachment_with_revision(a, '1025')
    assert content == b'\0bytes' and revision.startswith('"0-')


@pytest.mark.config(CheckRevisions=True)
def test_both_clients_see_revisions(api, py):
    [one] = api.upload(dicom_bytes(instance()))
    assert api.capabilities.has_revision_support and api.capabilities.has_label_support
    assert api.capabilities.has_extended_find and api.capabilities.has_extended_changes
    api.instances.set_string_metadata(one, '1024', 'first')
    content, revision = api.instances.get_string_metadata_with_revision(one, '1024')
    api.instances.set_string_metadata(one, '1024', 'second', match_revision=revision)
    with pytest.raises(orthanc_api_client.exceptions.Conflict):
        api.instances.set_string_metadata(one, '1024', 'third', match_revision=revision)
    assert api.instances.get_string_metadata(one, '1024') == 'second'
    api.instances.set_attachment(one, '1025', content=b'first')
    content, revision = api.instances.get_attachment_with_revision(one, '1025')
    api.instances.set_attachment(one, '1025', content=b'second', match_revision=revision)
    with pytest.raises(orthanc_api_client.exceptions.Conflict):
        api.instances.set_attachment(one, '1025', content=b'third', match_revision=revision)
    assert api.instances.get_attachment(one, '1025') == b'second'

    path = py.url + '/instances/%s/metadata/4001' % one
    py.return_raw_response = True
    first = py._put(path, content='one').headers['ETag']
    assert py._put(path, content='two').status_code == 409
    assert py._put(path, content='two', headers={'If-Match': first}).status_code == 200
    assert py.get_instances_id_metadata_name(one, '4001').text == 'two'


def test_api_client_sends_archives_and_controls_jobs(api, receiver, other, tmp_path):
    many = study(3)
    ids = [api.upload(dicom_bytes(ds))[0] for ds in many]
    target = receiver()
    api.modalities.configure('target', target.modality)
    assert api.modalities.get_all_ids() == ['target'] and api.modalities.get_id_from_aet(target.aet) == 'target'
    assert api.modalities.get_configuration('target')['Port'] == target.port
    api.modalities.send('target', ids[0])
    job = api.modalities.send_async('target', ids)
    assert job.wait_completed(timeout=30, polling_interval=0.1) and job.info.status == JobStatus.SUCCESS
    assert job.info.type == JobType.DICOM_MODALITY_STORE and job.content['InstancesCount'] == 3
    assert sorted(target.counts()) == uids(many)
    api.modalities.delete('target')
    with pytest.raises(orthanc_api_client.exceptions.ResourceNotFound):
        api.modalities.send('target', ids[0])

    api.put('peers/other', json={'Url': other.url})
    api.peers.send('other', ids[0])
    job = api.peers.send_async('other', ids)
    assert job.wait_completed(timeout=30, polling_interval=0.1) and job.info.status == JobStatus.SUCCESS
    assert job.info.type == JobType.ORTHANC_PEER_STORE and job.info.orthanc_id in api.jobs.get_all_ids()
    copy = orthanc_api_client.OrthancApiClient(other.url)
    assert [copy.instances.get_file(one) for one in ids] == [dicom_bytes(ds) for ds in many]
    copy.close()

    chosen = InstancesSet.from_study(api, api.instances.get_parent_study_id(ids[0]))
    removed = chosen.filter_instances(lambda api, one: api.instances.get(one).tags['InstanceNumber'] != '3')
    assert removed.instances_ids == [ids[2]] and sorted(chosen.instances_ids) == sorted(ids[:2])
    for download in [chosen.download_archive, chosen.download_media]:
        download(str(tmp_path / 'a.zip'))
        assert names((tmp_path / 'a.zip').read_bytes()) == uids(many[:2])
    chosen.delete()
    assert api.instances.get_all_ids() == [ids[2]]

    made = api.post('tools/create-archive', json={'Asynchronous': True, 'Resources': [ids[2]]}).json()
    job = api.jobs.get(made['ID'])
    assert job.wait_completed(timeout=30, polling_interval=0.1) and job.refresh().info.status == JobStatus.SUCCESS
    for action in [api.jobs.cancel, api.jobs.pause]:
        action(job.orthanc_id)  # as in Orthanc, there is nothing left to do
    for action in [api.jobs.resume, api.jobs.retry]:
        with pytest.raises(orthanc_api_client.exceptions.HttpError) as refused:
            action(job.orthanc_id)
        assert refused.value.http_status_code == 400
    api.jobs.delete(job.orthanc_id)
    with pytest.raises(orthanc_api_client.exceptions.ResourceNotFound):
        job.refresh()
    assert api.get_log_level() == LogLevel.DEFAULT and api.set_log_level(LogLevel.DEFAULT) == LogLevel.DEFAULT
    with pytest.raises(orthanc_api_client.exceptions.Forbidden):
        api.execute_lua_script(b'print(1)')
    assert not api.has_loaded_plugin('nothing')
