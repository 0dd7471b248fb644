package org.example.quotes;

import java.util.List;

/** What is said. */
record Quotes(List<String> all) {
    static Quotes usual() {
        return new Quotes(List.of("first things first", "second thoughts are best"));
    }

    String at(int number) {
        return all.get(Math.floorMod(number, all.size()));
    }
}
