# Step 00: the echo server of the tutorial page.
# New: socket, bind, listen, accept, recv, sendall.
# Look: `ss -tln 'sport = :7007'` before the start and after it; `ss -tn 'sport = :7007'` while a client is connected.
# Breaks on: `again`: the server ends with its first client, and the second client is refused.
# Believed: "listen lets the server communicate"; "with closes everything"; "one send is one recv"
# Grown up: `src/server/bind.rs`

import socket
import sys

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7007"
host, port = address.rsplit(":", 1)

with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
    listener.bind((host, int(port)))
    listener.listen()
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(1024):
            connection.sendall(data)
