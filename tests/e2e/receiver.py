"""A storage SCP as the destination of sends: it takes its time, refuses, or stops answering."""
import threading
import time
from collections import Counter

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification


class Receiver:
    """Accepts every storage class. `delay` seconds pass before each instance is acknowledged with `status`.

    `arrivals` lists (moment, SOP Instance UID, calling AET) of each instance that came completely, acknowledged or not.
    """

    def __init__(self, delay=0, status=0x0000, aet='RECEIVER', port=0):
        self.delay, self.status, self.aet = delay, status, aet
        self.arrivals = []
        self.lock = threading.Lock()
        self.answers = threading.Event()
        self.answers.set()
        ae = AE(aet)
        ae.maximum_associations = 200
        ae.network_timeout = ae.dimse_timeout = ae.acse_timeout = None
        ae.add_supported_context(Verification, ALL_TRANSFER_SYNTAXES)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        self.server = ae.start_server(('127.0.0.1', port), block=False, evt_handlers=[(evt.EVT_C_STORE, self.store)])
        self.port = self.server.socket.getsockname()[1]

    def store(self, event):
        with self.lock:
            self.arrivals.append((time.monotonic(), str(event.request.AffectedSOPInstanceUID), event.assoc.requestor.ae_title))
        time.sleep(self.delay)
        self.answers.wait()
        return self.status

    @property
    def modality(self):
        """What `PUT /modalities/{name}` takes."""
        return {'AET': self.aet, 'Host': '127.0.0.1', 'Port': self.port}

    def counts(self):
        """How often each instance arrived."""
        with self.lock:
            return Counter(uid for _, uid, _ in self.arrivals)

    def stop_answering(self):
        """Takes what comes and says nothing more."""
        self.answers.clear()

    def go_on(self):
        self.answers.set()

    def end(self):
        self.go_on()
        server, self.server = self.server, None
        if server:
            server.shutdown()
