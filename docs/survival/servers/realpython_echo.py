# The first server of "Socket Programming in Python (Guide)", Real Python: one client, and then it ends.
# Written anew from its description. Only the address as an argument is added.
import socket
import sys

HOST, PORT = sys.argv[1].split(":")

with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
    s.bind((HOST, int(PORT)))
    s.listen()
    conn, addr = s.accept()
    with conn:
        print("connected by", addr)
        while True:
            data = conn.recv(1024)
            if not data:
                break
            conn.sendall(data)
