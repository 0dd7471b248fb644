<?php

declare(strict_types=1);

namespace Notes;

use PDO;

final class Store
{
    public function __construct(private PDO $database)
    {
        $this->database->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
    }

    public function add(string $text): int
    {
        $this->database->prepare('INSERT INTO notes (text) VALUES (?)')->execute([$text]);
        return (int) $this->database->lastInsertId();
    }

    /** @return list<array{id: int, text: string}> */
    public function all(): array
    {
        return $this->database->query('SELECT id, text FROM notes ORDER BY id')->fetchAll(PDO::FETCH_ASSOC);
    }
}
