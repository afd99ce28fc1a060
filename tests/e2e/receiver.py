"""A storage SCP as the destination of sends: it takes its time, refuses, or stops answering."""
import contextlib
import socket
import threading
import time
from collections import Counter

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification


class Receiver:
    """Accepts every storage class. `delay` seconds pass before each instance is acknowledged with `status`.

    With `reads_bytes`, it reads so much of each association and then no more.
    `arrivals` lists (moment, SOP Instance UID, calling AET) of each instance that came completely, acknowledged or not.
    """

    def __init__(self, delay=0, status=0x0000, aet='RECEIVER', port=0, reads_bytes=None):
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
        self.sockets, self.stuck = [], []
        self.door = None
        if reads_bytes is not None:
            self.door = socket.create_server(('127.0.0.1', 0))
            self.door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            threading.Thread(target=self.pass_on, args=(self.port, reads_bytes), daemon=True).start()
            self.port = self.door.getsockname()[1]

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

    def pass_on(self, port, reads_bytes):
        """Stands before the server, and stops reading: the window of the connection closes."""
        while True:
            try:
                client, _ = self.door.accept()
            except OSError:
                return
            server = socket.create_connection(('127.0.0.1', port))
            self.sockets += [client, server]
            threading.Thread(target=copy, args=(server, client), daemon=True).start()
            threading.Thread(target=self.read, args=(client, server, reads_bytes), daemon=True).start()

    def read(self, client, server, reads_bytes):
        copy(client, server, reads_bytes)
        self.stuck.append(client)

    def end(self):
        """Leaves no thread behind: a socket that is only closed would not wake who reads it."""
        self.go_on()
        for one in [self.door, *self.sockets] if self.door else []:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        server, self.server = self.server, None
        if server:
            server.shutdown()


def copy(source, target, limit=1 << 60):
    """Passes bytes on until the end or the limit."""
    while limit > 0:
        try:
            data = source.recv(min(limit, 1 << 16))
            target.sendall(data)
        except OSError:
            return
        if not data:
            return
        limit -= len(data)
