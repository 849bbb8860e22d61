# Streams, after "TCP echo server using streams" in the documentation of Python's asyncio.
# The example closes the connection after the first message. This one goes on until the client ends its stream.
import asyncio
import sys


async def echo(reader, writer):
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main():
    host, port = sys.argv[1].split(":")
    server = await asyncio.start_server(echo, host, int(port))
    async with server:
        await server.serve_forever()


asyncio.run(main())
