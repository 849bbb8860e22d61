# A thread for each client, after "socketserver: A framework for network servers" in the documentation of Python.
# Its example answers one message in capital letters. This one returns all bytes as they are.
import socketserver
import sys


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1024):
            self.request.sendall(data)


host, port = sys.argv[1].split(":")
with socketserver.ThreadingTCPServer((host, int(port)), Echo) as server:
    server.serve_forever()
