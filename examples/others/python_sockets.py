# An echo server with Python's socket module: one client after another.
# Run: mio-echo check -- python3 examples/others/python_sockets.py {address}
# Stands on: rung 1 of the ladder. Next: `two-at-once`, because a silent client stops the service.
import socket
import sys

host, port = sys.argv[1].rsplit(":", 1)
with socket.create_server((host, int(port))) as listener:
    while True:
        client, _ = listener.accept()
        with client:
            while data := client.recv(4096):
                client.sendall(data)
