// socket.pipe(socket) with an error handler for each client: an error event without a handler ends the process, says
// "Error events" in the documentation of Node.js events.
const net = require("node:net");

const [host, port] = process.argv[2].split(":");
const server = net.createServer((socket) => {
  socket.on("error", () => socket.destroy());
  socket.pipe(socket);
});
server.listen(Number(port), host);
