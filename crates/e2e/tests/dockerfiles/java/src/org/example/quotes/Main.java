package org.example.quotes;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;

/** Serves quotes. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws IOException {
        var port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        var quotes = Quotes.usual();
        server.createContext("/quote/", exchange -> {
            var path = exchange.getRequestURI().getPath();
            answer(exchange, quotes.at(Integer.parseInt(path.substring("/quote/".length()))));
        });
        server.createContext("/about", exchange -> answer(exchange,
            System.getProperty("user.name") + " " + Runtime.version().feature() + " " + ModuleLayer.boot().modules().size()));
        server.start();
    }

    private static void answer(HttpExchange exchange, String text) throws IOException {
        var bytes = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(200, bytes.length);
        try (var body = exchange.getResponseBody()) {
            body.write(bytes);
        }
    }
}
