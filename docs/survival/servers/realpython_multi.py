# The multi-connection server of "Socket Programming in Python (Guide)", Real Python: a selector, and both events for
# each client at all times. Written anew from its description. Only the address as one argument is added.
import selectors
import socket
import sys
from types import SimpleNamespace

selector = selectors.DefaultSelector()


def accept(listener):
    conn, addr = listener.accept()
    print("connected by", addr)
    conn.setblocking(False)
    events = selectors.EVENT_READ | selectors.EVENT_WRITE
    selector.register(conn, events, data=SimpleNamespace(addr=addr, outb=b""))


def serve(key, mask):
    conn, data = key.fileobj, key.data
    if mask & selectors.EVENT_READ:
        received = conn.recv(1024)
        if received:
            data.outb += received
        else:
            print("closed by", data.addr)
            selector.unregister(conn)
            conn.close()
            return
    if mask & selectors.EVENT_WRITE and data.outb:
        sent = conn.send(data.outb)
        data.outb = data.outb[sent:]


host, port = sys.argv[1].split(":")
with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
    listener.bind((host, int(port)))
    listener.listen()
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ, data=None)
    while True:
        for key, mask in selector.select(timeout=None):
            if key.data is None:
                accept(key.fileobj)
            else:
                serve(key, mask)
