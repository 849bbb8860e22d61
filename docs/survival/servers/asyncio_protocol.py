# A protocol, after "TCP Echo Server" among the examples of Python's asyncio protocols.
# The example closes the connection after the first message. This one goes on until the client ends its stream.
import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def main():
    host, port = sys.argv[1].split(":")
    server = await asyncio.get_running_loop().create_server(Echo, host, int(port))
    async with server:
        await server.serve_forever()


asyncio.run(main())
