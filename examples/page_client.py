"""The echo client of the tutorial page, for input of any length.

    python3 examples/page_client.py 127.0.0.1 7007 < file > echo

The client on the page sends one message with `sendall` and receives once. That works for a message. A file deadlocks:
`sendall` waits for the server, and the server waits for the client to read the echo. Here a thread sends while the main
thread receives. `shutdown(SHUT_WR)` tells the server that nothing follows.
"""

import socket
import sys
import threading

if len(sys.argv) != 3:
    sys.exit("usage: page_client.py HOST PORT")
HOST, PORT = sys.argv[1], int(sys.argv[2])


def send_all(s):
    while chunk := sys.stdin.buffer.read1(65536):
        s.sendall(chunk)
    s.shutdown(socket.SHUT_WR)


with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
    s.connect((HOST, PORT))
    threading.Thread(target=send_all, args=(s,), daemon=True).start()
    while data := s.recv(65536):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
