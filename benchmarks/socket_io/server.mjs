// The server for the load client on Socket.IO with its defaults: server.mjs --port P
import { createServer } from "node:http"
import { Server } from "socket.io"

const http = createServer()
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false })
io.on("connection", socket => {
  let topic
  socket.on("join", (name, joined) => {
    topic = name
    socket.join(name)
    joined()
  })
  socket.on("echo", (payload, reply) => reply(payload))
  socket.on("shout", payload => io.to(topic).emit("shout", payload))
})
http.listen(Number(process.argv[3] ?? 0), "127.0.0.1", () => console.log(`listening on 127.0.0.1:${http.address().port}`))
