"""What the clients of the mixed chaos do. Each request is repeated until a process has answered it, so what was asked for once is done once."""
import hashlib
import io
import random
import threading
import time
import uuid
import zipfile
from collections import Counter
from dataclasses import dataclass, field

import requests
from dicom import dicom_bytes, files, instance, storescu
from follower import Follower
from jobs import zipped
from pydicom.uid import generate_uid
from receiver import Receiver

# A gateway whose process died within, that finds none ready, or that waits for one in vain; and a process without its database.
AGAIN = {502, 503, 504}
# The codes (InexistentFile, CannotWrite, Corrupted) of requests and jobs that met a storage area that is away.
STORAGE = {13, 14, 20}
CANCELED, INTERNAL = 37, -1
# storescu: seconds for the connection, the association, and each answer.
PATIENCE = ['-to', 5, '-ta', 15, '-td', 20]


def orthanc_id(one, level=4):
    """Orthanc's identifier of an instance, or above it of a patient (1) or study (2)."""
    uids = [one.PatientID, one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID]
    digest = hashlib.sha1('|'.join(uids[:level]).encode()).hexdigest()
    return '-'.join(digest[at:at + 8] for at in range(0, 40, 8))


def status_of(answer):
    """`OrthancStatus` of an answer, None if it has none."""
    try:
        return answer.json().get('OrthancStatus')
    except (requests.JSONDecodeError, AttributeError):
        return None


@dataclass
class Study:
    """All of it is acknowledged. `sent`: the file of each instance by its id; `door`: 'REST', 'C-STORE' or 'WebDAV'."""
    identifier: str
    sent: dict
    uids: list
    door: str


@dataclass
class Job:
    """`asked`: how often clients asked for each action."""
    identifier: str
    study: Study
    # The destination of a send, and the AET under which this job alone calls it.
    receiver: object = None
    aet: str = ''
    asked: Counter = field(default_factory=Counter)


class Witness(Receiver):
    """A destination that knows which job sent what, from which port."""

    def __init__(self, **options):
        self.seen = {}
        super().__init__(**options)

    def store(self, event):
        with self.lock:
            uid = str(event.request.AffectedSOPInstanceUID)
            self.seen.setdefault(event.assoc.requestor.ae_title, []).append((uid, event.assoc.requestor.port))
        time.sleep(self.delay)
        return self.status


class Executioner(Receiver):
    """Kills whoever sends to it: to the registry, a job that ends its process."""

    def __init__(self, world, load):
        super().__init__(aet='POISON')
        self.world, self.load = world, load
        self.jobs, self.killed = [], 0

    def store(self, event):
        end = time.monotonic() + 10
        while not (node := self.world.owner(event.assoc.requestor.port)) and time.monotonic() < end:
            time.sleep(0.05)  # its sockets could not be listed at this moment
        if node:
            node.process.kill()
            self.killed += 1
        return 0xA700

    def make(self):
        """Makes such a job in the background: the database may be away."""
        def create():
            self.jobs.append(self.load.create('/modalities/poison/store', Resources=[self.load.first.identifier]))
        self.load.start(create, once=True)


class Load:
    """Everything that clients do at once, through the gateway."""

    def __init__(self, client, seed, folder):
        self.url, self.client, self.folder = client.url, client, folder
        self.dice = random.Random(seed)
        self.lock, self.threads, self.running = threading.Lock(), [], True
        self.studies, self.jobs, self.problems = [], [], []
        # Acknowledged, and perhaps not imported yet.
        self.arriving = []
        self.done, self.refused = Counter(), Counter()
        self.follower = Follower(client.url)
        self.receivers = [Witness(aet='QUICK'), Witness(aet='SLOW', delay=0.12)]
        self.ports = {}
        self.first, self.poison = None, None

    def begin(self):
        for one in [*self.receivers, self.poison]:
            self.put_modality(one.aet.lower(), one.modality)
        self.store_by_rest()
        self.first = self.studies[0]
        for work, count in [(self.store_by_rest, 3), (self.store_by_dicom, 2), (self.upload, 1), (self.send, 2), (self.archive, 2), (self.meddle, 1),
                            (self.change_modality, 1), (self.poll, 1), (self.follow, 1)]:
            for _ in range(count):
                self.start(work)

    def start(self, work, once=False):
        def again():
            while True:
                try:
                    work()
                except Exception as error:  # whatever goes wrong in a client is a finding
                    self.problems.append('%s: %r' % (work.__name__, error))
                    time.sleep(0.2)
                if once or not self.running:
                    return
        self.threads.append(threading.Thread(target=again, daemon=True))
        self.threads[-1].start()

    def idle(self):
        """Whether every client has ended what it had begun when `running` became false."""
        return not any(thread.is_alive() for thread in self.threads)

    def ask(self, method, path, good=(200,), headers=None, **arguments):
        """Asks until there is an answer that is no temporary refusal. Statuses that are not in `good` are a problem."""
        while True:
            try:
                answer = requests.request(method, self.url + path, headers={'Connection': 'close', **(headers or {})}, timeout=30, **arguments)
            except requests.RequestException as error:
                self.refused[type(error).__name__] += 1
                time.sleep(0.05)
                continue
            if answer.status_code in good:
                return answer
            code = status_of(answer)
            self.refused['%d (%s)' % (answer.status_code, code)] += 1
            if answer.status_code not in AGAIN and code not in STORAGE:
                raise AssertionError('%s %s: %d %s' % (method, path, answer.status_code, answer.text[:500]))
            time.sleep(0.05)

    def create(self, path, **body):
        """Makes a job, once, however often the request must be repeated."""
        key = {'Idempotency-Key': str(uuid.uuid4())}
        return self.ask('POST', path, json={'Asynchronous': True, **body}, headers=key).json()['ID']

    def choose(self, things):
        with self.lock:
            return self.dice.choice(things) if things else None

    def new_study(self):
        with self.lock:
            count = self.dice.randint(3, 8)
        study, series = generate_uid(), generate_uid()
        return [instance(study, series, InstanceNumber=n + 1) for n in range(count)]

    def stored(self, study, instances, bodies, door, where=None):
        where = self.studies if where is None else where
        where.append(Study(study, dict(zip(map(orthanc_id, instances), bodies)), [str(i.SOPInstanceUID) for i in instances], door))
        self.done['instances stored by ' + door] += len(instances)

    def store_by_rest(self):
        instances = self.new_study()
        bodies = [dicom_bytes(one) for one in instances]
        answers = [self.ask('POST', '/instances', data=body).json() for body in bodies]
        for one, answer in zip(instances, answers):
            assert answer['ID'] == orthanc_id(one) and answer['Status'] in ('Success', 'AlreadyStored'), answer
        self.stored(answers[0]['ParentStudy'], instances, bodies, 'REST')

    def store_by_dicom(self):
        """`storescu` sends all of them again until each was acknowledged in one association."""
        instances = self.new_study()
        paths = files(self.folder / generate_uid(), instances)
        while True:
            sent = storescu(self.client, paths, '-v', *PATIENCE)
            if sent.returncode == 0 and sent.stdout.count('Received Store Response (Success)') == len(paths):
                break
            self.refused['C-STORE'] += 1
            time.sleep(0.1)
        study = self.ask('GET', '/instances/%s/study' % orthanc_id(instances[0])).json()['ID']
        self.stored(study, instances, [path.read_bytes() for path in paths], 'C-STORE')

    def upload(self):
        """By WebDAV: a ZIP, or each file of its own. A request that is repeated may leave the same file twice."""
        instances = self.new_study()
        bodies, name = [dicom_bytes(one) for one in instances], '/webdav/uploads/%s' % uuid.uuid4()
        uploads = {'%s-%d.dcm' % (name, n): body for n, body in enumerate(bodies)}
        if self.choose([True, False]):
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, 'w') as made:
                for n, body in enumerate(bodies):
                    made.writestr('%d.dcm' % n, body)
            uploads = {name + '.zip': archive.getvalue()}
        for path, body in uploads.items():
            self.ask('PUT', path, good=(201,), data=body)
        self.stored(orthanc_id(instances[0], 2), instances, bodies, 'WebDAV', self.arriving)
        time.sleep(0.3)

    def send(self):
        study, receiver = self.choose(self.studies), self.choose(self.receivers)
        job = Job('', study, receiver, 'J%d' % (self.count('send jobs')))
        job.identifier = self.create('/modalities/%s/store' % receiver.aet.lower(), Resources=[study.identifier], LocalAet=job.aet)
        self.jobs.append(job)
        time.sleep(0.3)

    def archive(self):
        job = Job('', self.choose(self.studies))
        job.identifier = self.create('/studies/%s/archive' % job.study.identifier)
        self.count('archive jobs')
        self.jobs.append(job)
        assert job.identifier in self.ask('GET', '/jobs').json(), 'the new job is not in the list'
        end = time.monotonic() + 20
        while (state := self.ask('GET', '/jobs/' + job.identifier).json()['State']) not in ('Success', 'Failure', 'Paused'):
            if time.monotonic() > end:
                return
            time.sleep(0.1)
        if state == 'Success':
            self.fetch(job)

    def fetch(self, job):
        body = self.ask('GET', '/jobs/%s/archive' % job.identifier).content
        assert zipped(body) == len(job.study.sent)
        self.count('archives fetched')

    def count(self, what):
        with self.lock:
            self.done[what] += 1
            return self.done[what]

    def meddle(self):
        """Cancels, pauses, resumes or resubmits a job, whatever it does at the moment."""
        job = self.choose(self.jobs[-30:])
        if job:
            action = self.choose(['cancel', 'pause', 'pause', 'resume', 'resume', 'resubmit'])
            job.asked[action] += 1
            answer = self.ask('POST', '/jobs/%s/%s' % (job.identifier, action), good=(200, 400), data='{}')
            self.count('%s: %s' % (action, 'done' if answer.ok else 'not in this state'))
        time.sleep(0.25)

    def put_modality(self, name, modality):
        self.ask('PUT', '/modalities/' + name, json=modality)

    def change_modality(self):
        """What was put is what the very next requests see, whoever answers."""
        name, port = 'm%d' % self.choose(range(5)), self.choose(range(1024, 65536))
        self.put_modality(name, {'AET': 'M', 'Host': '127.0.0.1', 'Port': port})
        self.ports[name] = port
        for _ in range(3):
            seen = self.ask('GET', '/modalities/%s/configuration' % name).json()['Port']
            assert seen == port, '%s has port %d, not %d' % (name, seen, port)
        self.count('modality PUTs')
        time.sleep(0.2)

    def poll(self):
        """No job is ever unknown."""
        if job := self.choose(self.jobs):
            assert self.ask('GET', '/jobs/' + job.identifier).json()['ID'] == job.identifier
            self.count('polls')
        time.sleep(0.05)

    def follow(self):
        self.follower.poll()
        time.sleep(0.05)

    def close(self):
        self.running = False
        for one in [*self.receivers, self.poison]:
            one.end()
