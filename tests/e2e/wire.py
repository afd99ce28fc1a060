"""A wire between a client and a server that can be cut in one direction. Standard library only.

What is sent into the cut waits and arrives when it is mended, as when packets are lost and sent again; the end of a connection waits as
well. The other direction goes on.
"""
import contextlib
import socket
import threading

TO_SERVER, TO_CLIENT = 'to the server', 'to the client'


class Wire:
    """Listens on `port` and connects each client with the server at `target`, both on loopback."""

    def __init__(self, target):
        self.target = target
        self.door = socket.create_server(('127.0.0.1', 0))
        self.port = self.door.getsockname()[1]
        self.whole = {TO_SERVER: threading.Event(), TO_CLIENT: threading.Event()}
        self.mend()
        self.sockets = set()
        # How often something came to a cut.
        self.held = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.door.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(('127.0.0.1', self.target), 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self.sockets |= {client, server}
            for way in ((client, server, TO_SERVER), (server, client, TO_CLIENT)):
                threading.Thread(target=self.carry, args=way, daemon=True).start()

    def carry(self, source, target, direction):
        data = True
        while data:
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b''
            self.held += not self.whole[direction].is_set()
            self.whole[direction].wait()
            with contextlib.suppress(OSError):
                target.sendall(data) if data else target.shutdown(socket.SHUT_WR)
        self.sockets.discard(source)

    def cut(self, direction):
        self.whole[direction].clear()

    def mend(self):
        for one in self.whole.values():
            one.set()

    def reset(self):
        """Ends all connections, as a firewall that forgot them."""
        for one in list(self.sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def end(self):
        self.mend()
        self.door.shutdown(socket.SHUT_RDWR)
        self.door.close()
        self.reset()
