<?php

declare(strict_types=1);

$map = require __DIR__ . '/../classmap.php';
spl_autoload_register(static fn (string $name) => require $map[$name]);

$store = new Notes\Store(new PDO('sqlite:' . (getenv('DATABASE') ?: '/data/notes.sqlite')));
header('Content-Type: application/json');
match ([$_SERVER['REQUEST_METHOD'], parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)]) {
    ['POST', '/notes'] => print json_encode(['id' => $store->add(file_get_contents('php://input'))]),
    ['GET', '/notes'] => print json_encode($store->all()),
    ['GET', '/about'] => print json_encode(['user' => posix_getpwuid(posix_geteuid())['name'], 'limit' => ini_get('memory_limit')]),
    default => http_response_code(404),
};
