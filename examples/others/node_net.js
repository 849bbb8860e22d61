// An echo server with Node's net module: one callback for each event.
// Run: mio-echo check -- node examples/others/node_net.js {address}
// Stands on: rung 5 of the ladder. Next: `bounded-intake`, because `write` keeps what a client does not read.
const net = require("node:net");

const [host, port] = process.argv[2].split(":");
const server = net.createServer((client) => {
  client.on("data", (data) => client.write(data));
});
server.listen(Number(port), host);
