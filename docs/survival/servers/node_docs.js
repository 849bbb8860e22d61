// The example of net.createServer in the documentation of Node.js: a pipe, and an error handler for the server only.
// Written anew from its description. The example greets its clients; this one does not, because a greeting is no echo.
const net = require("node:net");

const [host, port] = process.argv[2].split(":");
const server = net.createServer((c) => {
  console.log("client connected");
  c.on("end", () => console.log("client disconnected"));
  c.pipe(c);
});
server.on("error", (error) => {
  throw error;
});
server.listen(Number(port), host, () => console.log("listening"));
