import { userInfo } from "node:os";
import express from "express";
import { greet } from "./greet";

const app = express();
app.disable("x-powered-by");
app.use(express.json());

app.get("/health", (_request, response) => response.sendStatus(204));
app.get("/greet/:name", (request, response) => response.json(greet(request.params.name)));
app.get("/who", (_request, response) => response.json({ user: userInfo().username, mode: process.env.NODE_ENV }));
app.post("/echo", (request, response) => response.status(201).json(request.body));

const server = app.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening"));

process.on("SIGTERM", () => {
    console.log("closing");
    server.close(() => process.exit(0));
});
